package bridge

import "sync"

// underway counts what has come in and is not dealt with. Unlike with a sync.WaitGroup more may come while somebody waits.
type underway struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n is 0 again; nil: nobody waits
}

func (u *underway) add() {
	u.mu.Lock()
	u.n++
	u.mu.Unlock()
}

func (u *underway) done() {
	u.mu.Lock()
	if u.n--; u.n == 0 && u.none != nil {
		close(u.none)
		u.none = nil
	}
	u.mu.Unlock()
}

// wait returns when there is nothing.
func (u *underway) wait() {
	u.mu.Lock()
	if u.n == 0 {
		u.mu.Unlock()
		return
	}
	if u.none == nil {
		u.none = make(chan struct{})
	}
	none := u.none
	u.mu.Unlock()
	<-none
}
