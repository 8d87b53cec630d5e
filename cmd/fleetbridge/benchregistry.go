package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// fillAtOnce is how many devices one transaction registers.
const fillAtOnce = 1000

// fillRegistry registers devices as they are after their first hello.
func fillRegistry(ctx context.Context, store campaign.Store, tenant ident.Tenant, s *fleetSetup, devices int) error {
	old, now := ident.SumDigest([]byte("1.4.0")), time.Now()
	for from := 0; from < devices; from += fillAtOnce {
		err := store.Update(ctx, func(tx campaign.Tx) error {
			for i := from; i < min(from+fillAtOnce, devices); i++ {
				id, err := ident.ParseDevice(fmt.Sprintf("bench-%08d", i))
				if err != nil {
					return err
				}
				d := campaign.Device{ID: id, Vendor: s.vendor, Class: s.class, Boot: 3, MaxChunk: 4096, Algs: []int64{-7, -9}, HelloSeq: 1,
					Installed: []campaign.Image{{Component: "00", Digest: old, Sequence: 1, Version: "1.4.0"}},
					Facts:     map[string]string{"hw": "b2", "modem": "lte"},
					Labels:    map[string]string{"site": strconv.Itoa(i % 50)}, LastSeen: now, Created: now}
				if err := tx.PutDevice(tenant, d); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("fill registry: %w", err)
		}
	}
	return nil
}

// diskUse is the size of all files below dir.
func diskUse(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // compacted away meanwhile
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
