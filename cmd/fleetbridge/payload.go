package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func payloadCommand(a *app) *cobra.Command {
	return group("payload", "Payloads: the bytes that devices fetch", payloadPush(a), payloadList(a), payloadUploads(a), payloadAbort(a), payloadRemove(a),
		payloadDelta(a), payloadEncrypt(a))
}

func payloadPush(a *app) *cobra.Command {
	var name string
	c := &cobra.Command{Use: "push FILE", Short: "Upload a payload; an interrupted upload goes on where it was", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&name, "name", "", "name for people (default: the file's)")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		digest, size, err := digestFile(args[0])
		if err != nil {
			return err
		}
		if size == 0 {
			return usagef("%s is empty: there is nothing to install", args[0])
		}
		f, err := os.Open(args[0])
		if err != nil {
			return fmt.Errorf("read payload: %w", err)
		}
		defer f.Close()
		if name == "" {
			name = filepath.Base(args[0])
		}
		bar := a.newMeter("upload", size)
		defer bar.end()
		v, err := pushPayload(ctx, cl, f, topics.PayloadBegin{Digest: digest, Size: size, Name: name}, bar.at)
		if err != nil {
			return err
		}
		bar.end()
		return a.printOne(v, row{"payload", v.Digest.String()}, row{"size", bytesText(v.Size)}, row{"name", v.Name})
	})
	return c
}

// pushPayload uploads what r holds. at is told how many bytes the server has made durable.
func pushPayload(ctx context.Context, cl *client.Client, r io.ReaderAt, begin topics.PayloadBegin, at func(int64)) (topics.PayloadView, error) {
	var up topics.PayloadUpload
	var view topics.PayloadView
	if err := cl.Do(ctx, "payload", "begin", begin, &up); err != nil {
		return view, err
	}
	for !up.Complete && up.Offset < begin.Size {
		at(up.Offset)
		data := make([]byte, min(up.MaxAppend, begin.Size-up.Offset))
		if _, err := r.ReadAt(data, up.Offset); err != nil && !errors.Is(err, io.EOF) {
			return view, fmt.Errorf("read payload: %w", err)
		}
		err := cl.Do(ctx, "payload", "append", topics.PayloadAppend{Digest: begin.Digest, Offset: up.Offset, Data: data, Sum: ident.SumDigest(data)}, &up)
		var p *topics.Problem
		if errors.As(err, &p) && (p.Type == topics.ProblemUploadOverlap || p.Type == topics.ProblemUploadOffset) {
			// An append whose reply was lost has been taken, or another client uploads the same: ask where it stands.
			err = cl.Do(ctx, "payload", "begin", begin, &up)
		}
		if err != nil {
			return view, err
		}
	}
	at(begin.Size)
	err := cl.Do(ctx, "payload", "commit", topics.PayloadCommit{Digest: begin.Digest}, &view)
	return view, err
}

func payloadList(a *app) *cobra.Command {
	type view = topics.PayloadView
	return &cobra.Command{Use: "ls", Short: "List the payloads", Args: cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, _ []string) error {
			items := client.List[view](ctx, cl, "payload", "list", func(p topics.Page) any { return p })
			return printList(a, items,
				column[view]{"payload", func(v view) string { return v.Digest.String() }},
				column[view]{"size", func(v view) string { return bytesText(v.Size) }},
				column[view]{"name", func(v view) string { return v.Name }},
				column[view]{"created", func(v view) string { return when(v.Created) }})
		})}
}

func payloadUploads(a *app) *cobra.Command {
	type view = topics.PayloadUpload
	return &cobra.Command{Use: "uploads", Short: "List the uploads that are not complete", Args: cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, _ []string) error {
			items := client.List[view](ctx, cl, "payload", "uploads", func(p topics.Page) any { return p })
			return printList(a, items,
				column[view]{"payload", func(v view) string { return v.Digest.String() }},
				column[view]{"there", func(v view) string { return bytesText(v.Offset) }},
				column[view]{"size", func(v view) string { return bytesText(v.Size) }},
				column[view]{"name", func(v view) string { return v.Name }},
				column[view]{"expires", func(v view) string { return when(v.Expires) }})
		})}
}

func payloadAbort(a *app) *cobra.Command {
	return &cobra.Command{Use: "abort DIGEST", Short: "Give an upload up, and the room that is reserved for it", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			d, err := ident.ParseDigest(args[0])
			if err != nil {
				return err
			}
			var v topics.PayloadUpload
			if err := cl.Do(ctx, "payload", "abort", topics.PayloadRef{Digest: d}, &v); err != nil {
				return err
			}
			return a.printOne(v, row{"payload", v.Digest.String()}, row{"size", bytesText(v.Size)}, row{"name", v.Name})
		})}
}

func payloadRemove(a *app) *cobra.Command {
	return &cobra.Command{Use: "rm DIGEST", Short: "Delete a payload that no manifest fetches", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			d, err := ident.ParseDigest(args[0])
			if err != nil {
				return err
			}
			var v topics.PayloadView
			if err := cl.Do(ctx, "payload", "delete", topics.PayloadRef{Digest: d}, &v); err != nil {
				return err
			}
			return a.printOne(v, row{"payload", v.Digest.String()}, row{"size", bytesText(v.Size)}, row{"name", v.Name})
		})}
}

// digestFile reads a file once, for its digest and size.
func digestFile(path string) (ident.Digest, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return ident.Digest{}, 0, fmt.Errorf("read payload: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return ident.Digest{}, 0, fmt.Errorf("read payload: %w", err)
	}
	return ident.Digest(h.Sum(nil)), n, nil
}
