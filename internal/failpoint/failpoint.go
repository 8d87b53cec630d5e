// Package failpoint ends the process at a named place, as a power cut there would, so that a test can see what is left
// and what becomes of it. Only a build with the tag failpoint has any of it: in every other build At is empty and
// Enabled is false, so that the compiler leaves out the calls and what they would be told.
package failpoint
