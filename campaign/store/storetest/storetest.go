// Package storetest is the contract of campaign.Store as tests: every store passes the same suite. Run is called from a
// store's own tests. Audit, Saboteur and Rerun are also for the tests of whoever uses a store: Audit proves that indexes
// and counts equal a scan, Saboteur makes the n-th commit fail, Rerun runs every function twice as a store may.
package storetest

import (
	"context"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// Open opens an empty store for one test and closes it when the test ends. Closing it earlier is the test's right.
type Open func(t *testing.T) campaign.Store

// Run runs the contract suite.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, Open){
		"records":     testRecords,
		"transaction": testTransactions,
		"submit":      testSubmit,
		"campaign":    testCampaigns,
		"saboteur":    testSaboteur,
	} {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

// RunTwice runs the parts of the suite that hold under Rerun: those whose functions say what they write and no more.
func RunTwice(t *testing.T, open Open) {
	again := func(t *testing.T) campaign.Store { return Rerun(open(t)) }
	testRecords(t, again)
	testCampaigns(t, again)
	testSaboteur(t, again)
}

// The tenants of the suite: each is a prefix of another, or differs from it only where a separator would be.
var tenants = []ident.Tenant{
	ident.MustTenant("a"), ident.MustTenant("a.b"), ident.MustTenant("ab"), ident.MustTenant("A"), ident.MustTenant("a-"),
}

// epoch is when the suite's records happen.
var epoch = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// must is v of a parser that was given a constant.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func device(s string) ident.Device { return must(ident.ParseDevice(s)) }

func campaignID(s string) ident.Campaign { return must(ident.ParseCampaign(s)) }

// update runs fn in s and fails the test if that fails.
func update(t testing.TB, s campaign.Store, fn func(tx campaign.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

// view runs fn in s and fails the test if that fails.
func view(t testing.TB, s campaign.Store, fn func(r campaign.Reader) error) {
	t.Helper()
	if err := s.View(context.Background(), fn); err != nil {
		t.Fatalf("View: %v", err)
	}
}
