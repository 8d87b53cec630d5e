
// A table that was being written when the process died is half there, and in no list: it is no damage.
func TestUnfinishedTableIsNoDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, badger.Options{Dir: dir})
	if err := putDevice(t, s, "kept"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"000090.sst": nil, "000091.sst": {1, 2, 3}, "000092.sst": make([]byte, 1<<20)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, badger.Options{Dir: dir})
	if err := hasDevice(t, s, "kept"); err != nil {
		t.Error(err)
	}
}
