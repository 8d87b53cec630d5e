package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	kv "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// checkTables refuses tables whose end can't be one. Badger opens them in goroutines of its own and there slices by the
// lengths at the end before it has checked any checksum: a cut or overwritten file would end the process. What passes
// here Badger itself checks by checksum.
//
// Only the tables that the manifest file names count: one that was being written when the process died is half there,
// and Badger removes it.
//
// The end of a table is: index, its length[4], checksum, its length[4].
func checkTables(opt kv.Options) error {
	f, err := os.Open(filepath.Join(opt.Dir, kv.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read list of tables: %w", err)
	}
	defer f.Close()
	m, _, err := kv.ReplayManifestFile(f, opt.ExternalMagicVersion, opt)
	if err != nil {
		return fmt.Errorf("read list of tables: %w", err)
	}
	for id := range m.Tables {
		if err := checkTable(table.NewFilename(id, opt.Dir)); err != nil {
			return fmt.Errorf("table %d: %w", id, err)
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
