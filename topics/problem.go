package topics

// Problem is an RFC 9457 problem: the body of a reply that is not a success, and of `chunk/{token}/error`.
type Problem struct {
	// Type is a slug of the closed list in problemTable, such as "campaign-not-found".
	Type      string       `json:"type" cbor:"1,keyasint"`
	Status    int          `json:"status" cbor:"2,keyasint"` // HTTP's numbers
	Title     string       `json:"title,omitempty" cbor:"3,keyasint,omitempty"`
	Detail    string       `json:"detail,omitempty" cbor:"4,keyasint,omitempty"` // what, and how to mend it
	Errors    []FieldError `json:"errors,omitempty" cbor:"5,keyasint,omitempty"`
	RequestID string       `json:"request_id,omitempty" cbor:"6,keyasint,omitempty"`
}

// FieldError points at one member of a request by RFC 6901 JSON pointer.
type FieldError struct {
	Pointer string `json:"pointer" cbor:"1,keyasint"`
	Detail  string `json:"detail" cbor:"2,keyasint"`
}

// Error lets a Problem travel as an error.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Type
	}
	return p.Detail + " (" + p.Type + ")"
}
