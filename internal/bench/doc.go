// Package bench is the frame of `fleetbridge bench`: processes that are measured, processes that load them, and what comes
// of it. It knows no server and no protocol; internal/bench/load has the loads, internal/bench/peer what we compare
// ourselves with, cmd the wiring of each bench.
//
// The parts of a bench are processes of their own, so that the CPU of each is known apart. The bench itself sleeps:
//
//	b, err := bench.New(exe)                          // temporary folder, limit of open files
//	defer b.Close()                                   // ends every process, removes the folder
//	server, err := b.Start(bench.Command{Name: "ours", Path: exe, Args: …})
//	err = server.Listening(ctx, addr)                 // until it takes connections
//	load, err := b.Role(ctx, "chunk-load", params, &ready, time.Minute)
//	sample, err := b.Measure(ctx, bench.Interval{Warmup: …, For: …}, load, server)
//	load.Stop()
//
// A role is a function of this binary that runs in a child (`fleetbridge bench role NAME`, hidden): parameters and results
// are JSON lines on stdin and stdout. It calls [Worker.Params], sets up, says [Worker.Ready], and then answers in
// [Worker.Serve]: begin starts its work, mark returns what is done so far, usually [Counts]. It ends when its stdin does,
// so none outlives the bench.
//
// Work that has an end of its own, such as a campaign, is measured in a [Span] instead.
//
// [Bench.Rounds] runs the contenders of a case in turn (A B A B), refuses rounds that other processes disturbed, and returns
// the samples of each; [SpreadOf] makes median, minimum and maximum of them. A result is one JSON object, a [Record], with
// the members bench, case and whatever the bench measures; a [Sheet] says how such records become a table on the terminal
// and, between two markers, in docs/performance.md.
//
// A new bench needs: its loads in package load and their names in the roles of cmd; a command in cmd that takes the common
// flags, runs its body in runBench and puts out its results; a sheet among the sheets of cmd, with its markers in
// docs/performance.md; a line in scripts/bench; and a short run in cmd's tests. `bench chunks` is the model.
//
// Processes are measured on Linux only; elsewhere New returns [ErrUnsupported].
package bench
