package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"fleetbridge/ident"
	"fleetbridge/internal/spec"
	"fleetbridge/topics"
)

// specFile is a file that somebody wrote, kept so that what is wrong with it can be shown in it. nil is none.
type specFile struct {
	doc *spec.Document
	// prefix of the pointers that come from elsewhere: where in the file the object stands.
	prefix string
}

// locate puts complaints that point at members in the place of the file that they are about; other errors stay.
func (f *specFile) locate(err error) error {
	if f == nil || err == nil {
		return err
	}
	var fields topics.FieldErrors
	var p *topics.Problem
	switch {
	case errors.As(err, &fields):
	case errors.As(err, &p) && len(p.Errors) > 0:
		fields = p.Errors
	default:
		return err
	}
	var all spec.Errors
	for _, e := range fields {
		all = append(all, f.doc.At(f.prefix+e.Pointer, e.Detail))
	}
	return all
}

// readSpec reads a file that people write into *into; - is stdin.
func readSpec(path string, stdin io.Reader, into any) (*specFile, error) {
	if path == "-" {
		path = "stdin"
	} else {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read file: %w", err)
		}
		defer f.Close()
		stdin = f
	}
	b, err := io.ReadAll(io.LimitReader(stdin, spec.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	doc, err := spec.Parse(path, b)
	if err != nil {
		return nil, err
	}
	return &specFile{doc: doc}, doc.Decode(into)
}

// readCampaign reads a campaign from a file. A name in args goes before the file's, so that one file serves many.
func readCampaign(path string, stdin io.Reader, args []string) (topics.CampaignCreate, *specFile, error) {
	var req topics.CampaignCreate
	file, err := readSpec(path, stdin, &req)
	if err != nil {
		return req, nil, err
	}
	if len(args) > 0 {
		if req.Campaign, err = ident.ParseCampaign(args[0]); err != nil {
			return req, nil, err
		}
	}
	return req, file, file.locate(req.Validate())
}
