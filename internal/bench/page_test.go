package bench

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
)

var pageSheet = Sheet{Bench: "x", Columns: []Column{Text("case", "case"), Figure("speed", "speed"), Verdict("goal", "goal")}}

const page = "# Words\n\nbefore\n<!-- measured: x -->\nold\n<!-- end: x -->\nafter\n"

func TestFill(t *testing.T) {
	records, err := ReadRecords(strings.NewReader(`{"bench":"machine","date":"2026-01-02","commit":"abc","cpu":"Z80","cores":2,"kernel":"6","go":"go1"}
{"bench":"x","case":"a","speed":1234.5,"speed_min":0.001234,"speed_max":2,"goal":1.5,"met":true}
{"bench":"y","case":"of another bench"}
{"bench":"x","case":"b","speed":1,"goal":0.1,"met":false}
{"bench":"x","case":"c","peer":"p","missing":true}
{"bench":"x","case":"d","speed":1}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `# Words

before
<!-- measured: x -->

| case | speed | goal |
|---|---|---|
| a | 1234 (0.00123–2) | 1.5 ✔ |
| b | 1 | 0.1 ✖ |
| c |  | missing |
| d | 1 |  |

2026-01-02, commit abc, Z80, 2 cores, Linux 6, go1.

<!-- end: x -->
after
`
	got, err := Fill(page, []Sheet{pageSheet}, records)
	if err != nil || got != want {
		t.Fatalf("%v\n%s", err, got)
	}
	if again, err := Fill(got, []Sheet{pageSheet}, records); err != nil || again != got {
		t.Errorf("filled again it is another page: %v\n%s", err, again)
	}
}

func TestFillLeavesWhatWasNotMeasured(t *testing.T) {
	if got, err := Fill(page, []Sheet{pageSheet}, []Record{{"bench": "y"}}); err != nil || got != page {
		t.Errorf("%v\n%s", err, got)
	}
	for _, bad := range []string{"", "<!-- measured: x -->\n", "<!-- end: x -->\n", "<!-- end: x -->\n<!-- measured: x -->\n"} {
		if got, err := Fill(bad, []Sheet{pageSheet}, nil); !errors.Is(err, ErrPage) || got != "" {
			t.Errorf("a page with %q: %q, %v", bad, got, err)
		}
	}
}

// Any record fits any sheet: a member of another kind is an empty cell or text, never a panic.
func TestSheetTakesAnyRecord(t *testing.T) {
	for _, text := range []string{`{"bench":"x"}`, `{"bench":"x","case":7,"speed":"fast","goal":null}`, `{"bench":"x","speed":[1],"goal":{},"met":1}`} {
		var r Record
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		if rows := pageSheet.Rows([]Record{r}); len(rows) != 1 || len(rows[0]) != 3 {
			t.Errorf("%s: %q", text, rows)
		}
	}
	if got := number(math.NaN()); got != "" {
		t.Errorf("no number is %q", got)
	}
}

func TestReadRecordsRefuses(t *testing.T) {
	if _, err := ReadRecords(strings.NewReader(`{"bench":"x"} nonsense`)); err == nil {
		t.Error("nonsense was read")
	}
}
