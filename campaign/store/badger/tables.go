package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// checkTables refuses tables whose end can't be one. Badger opens them in goroutines of its own and there slices by the
// lengths at the end before it has checked any checksum: a cut or overwritten file would end the process. What passes
// here Badger itself checks by checksum.
//
// The end of a table is: index, its length[4], checksum, its length[4].
func checkTables(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, p := range paths {
		if err := checkTable(p); err != nil {
			return fmt.Errorf("table %s: %w", filepath.Base(p), err)
		}
	}
	return nil
}

var errTable = errors.New("damaged")

// maxChecksum is more than a checksum with its kind takes.
const maxChecksum = 64

func checkTable(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	rest := st.Size()
	length := func(most int64) error {
		var b [4]byte
		if rest -= int64(len(b)); rest < 0 {
			return errTable
		}
		if _, err := f.ReadAt(b[:], rest); err != nil {
			return err
		}
		n := int64(binary.BigEndian.Uint32(b[:]))
		if rest -= n; n == 0 || n > most || rest < 0 {
			return errTable
		}
		return nil
	}
	if err := length(maxChecksum); err != nil {
		return err
	}
	return length(st.Size())
}
