package main

import "testing"

func TestClientLimit(t *testing.T) {
	files, known := openFileLimit()
	if !known {
		t.Skip("this system has no limit of open files")
	}
	if got, capped := clientLimit(1); got != 1 || capped {
		t.Errorf("one client: %d, capped %v", got, capped)
	}
	got, capped := clientLimit(int(files))
	if !capped || got <= 0 || uint64(got)+reservedFiles > files && files >= 2*reservedFiles {
		t.Errorf("as many clients as files (%d): %d, capped %v", files, got, capped)
	}
}
