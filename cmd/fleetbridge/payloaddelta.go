package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"fleetbridge/firmware"
	"fleetbridge/firmware/delta"
	"fleetbridge/ident"
)

// deltaMade is what `payload delta` prints: all that a manifest says of a delta.
type deltaMade struct {
	File      string       `json:"file"`
	From      ident.Digest `json:"from"`
	FromSize  int64        `json:"from_size"`
	Image     ident.Digest `json:"image"`
	ImageSize int64        `json:"image_size"`
	Payload   ident.Digest `json:"payload"`
	Size      int64        `json:"size"`
	Ratio     float64      `json:"ratio"` // bytes of the delta per byte of the image
}

func payloadDelta(a *app) *cobra.Command {
	var out string
	c := &cobra.Command{Use: "delta OLD_FILE NEW_FILE [--out FILE]", Args: cobra.ExactArgs(2),
		Short: "Write the delta that makes a new image out of an installed one, offline",
		Long: "Writes a Zstandard frame that has the old image as its dictionary, as `zstd --patch-from` does. A device\n" +
			"applies it only to that image; the manifest that names it names the image itself for all other devices.\n" +
			fmt.Sprintf("Both images are held in memory: at most %s each.", bytesText(delta.MaxImage))}
	c.Flags().StringVar(&out, "out", "", "file to write (default: the new file's name with .delta)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if out == "" {
			out = args[1] + ".delta"
		}
		d, err := makeDelta(args[0], args[1], out)
		if err != nil {
			return err
		}
		if d.Size >= d.ImageSize {
			a.say("the delta is no smaller than the image: devices fare better with the image itself")
		}
		return a.printOne(d, row{"file", d.File}, row{"payload", d.Payload.String()}, row{"size", bytesText(d.Size)},
			row{"ratio", fmt.Sprintf("%.2f %% of the image", 100*d.Ratio)},
			row{"from", d.From.String() + ", " + bytesText(d.FromSize)}, row{"image", d.Image.String() + ", " + bytesText(d.ImageSize)})
	}
	return c
}

func makeDelta(oldFile, newFile, out string) (deltaMade, error) {
	var images [2][]byte
	for i, name := range []string{oldFile, newFile} {
		b, err := readImage(name)
		if err != nil {
			return deltaMade{}, err
		}
		images[i] = b
	}
	from, to := images[0], images[1]
	if bytes.Equal(from, to) {
		return deltaMade{}, usagef("%s and %s are the same image", oldFile, newFile)
	}
	b, err := delta.Make(from, to)
	if err != nil {
		return deltaMade{}, err
	}
	d := deltaMade{File: out, From: ident.SumDigest(from), FromSize: int64(len(from)), Image: ident.SumDigest(to), ImageSize: int64(len(to)),
		Payload: ident.SumDigest(b), Size: int64(len(b)), Ratio: float64(len(b)) / float64(len(to))}
	if err := checkDelta(from, b, d); err != nil {
		return deltaMade{}, err
	}
	return d, writeNew(out, b, 0o644)
}

// readImage reads an image that a delta is made from or for.
func readImage(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read image: %w", err)
	case info.Size() == 0:
		return nil, usagef("%s is empty", name)
	case info.Size() > delta.MaxImage:
		return nil, usagef("%s has %s, and a delta takes images of at most %s: let devices fetch it whole", name,
			bytesText(info.Size()), bytesText(delta.MaxImage))
	}
	b, err := readBounded(name, delta.MaxImage)
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	return b, nil
}

// checkDelta applies a delta before anybody relies on it.
func checkDelta(from, b []byte, d deltaMade) error {
	var made bytes.Buffer
	if err := delta.Apply(&made, from, bytes.NewReader(b), d.ImageSize); err != nil {
		return err
	}
	if ident.SumDigest(made.Bytes()) != d.Image {
		return fmt.Errorf("the delta makes another image: %w", firmware.ErrDigestMismatch)
	}
	return nil
}
