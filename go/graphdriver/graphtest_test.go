package graphdriver

import (
	"os"
	"testing"

	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/drivers/graphtest"
	"go.podman.io/storage/pkg/reexec"
)

func TestMain(m *testing.M) {
	// chrootarchive, which graphtest uses, runs this program again.
	if reexec.Init() {
		return
	}
	os.Exit(m.Run())
}

// needRoot skips a test that mounts. With ORLOP_NO_SKIP that is a failure.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("ORLOP_NO_SKIP") != "" {
		t.Fatal("mounting needs root")
	}
	t.Skip("skipped: mounting needs root")
}

// TestGraphtest runs upstream's conformance tests, but for SetQuota, which needs project quotas (quota_test.go). They skip when the driver
// cannot start, which is no success here.
func TestGraphtest(t *testing.T) {
	needRoot(t)
	keep := graphtest.GetDriverNoCleanup(t, name)
	if keep == nil {
		t.Fatal("the driver did not start")
	}
	tests := []struct {
		name string
		run  func(t *testing.T)
	}{
		{"CreateEmpty", func(t *testing.T) { graphtest.DriverTestCreateEmpty(t, name) }},
		{"CreateBase", func(t *testing.T) { graphtest.DriverTestCreateBase(t, name) }},
		{"CreateSnap", func(t *testing.T) { graphtest.DriverTestCreateSnap(t, name) }},
		{"CreateFromTemplate", func(t *testing.T) { graphtest.DriverTestCreateFromTemplate(t, name) }},
		{"DeepLayerRead", func(t *testing.T) { graphtest.DriverTestDeepLayerRead(t, 500, name) }},
		{"DiffApply", func(t *testing.T) { graphtest.DriverTestDiffApply(t, 10, name) }},
		{"Changes", func(t *testing.T) { graphtest.DriverTestChanges(t, name) }},
		{"Echo", func(t *testing.T) { graphtest.DriverTestEcho(t, name) }},
		{"ListLayers", func(t *testing.T) { graphtest.DriverTestListLayers(t, name) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Skipped() {
					t.Error("skipped: the driver does not start")
				}
			})
			test.run(t)
		})
	}
	graphtest.PutDriver(t)
}

// What the interfaces of go.podman.io/storage are, and which are left out on purpose.
func TestInterfaces(t *testing.T) {
	needRoot(t)
	var d any = newRoots(t).open(t)
	if _, ok := d.(drivers.Driver); !ok {
		t.Error("no Driver")
	}
	if _, ok := d.(drivers.DiffGetterDriver); !ok {
		t.Error("no DiffGetterDriver")
	}
	if _, ok := d.(drivers.ApplyDiffStaging); !ok {
		t.Error("no ApplyDiffStaging")
	}
	if _, ok := d.(drivers.DriverWithDiffer); ok {
		t.Error("a DriverWithDiffer: pulls in parts would fail instead of being whole")
	}
	if _, ok := d.(drivers.AdditionalLayerStoreDriver); ok {
		t.Error("an AdditionalLayerStoreDriver")
	}
}
