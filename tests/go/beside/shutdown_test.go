package beside

import (
	"errors"
	"strings"
	"testing"

	"github.com/orlop/orlop/go"
	"go.podman.io/storage"
)

// What Go's Shutdown lists beside its error, the error of ours tells: each layer that was mounted, unmounted by force or not.
func TestShutdownTellsWhatWasMounted(t *testing.T) {
	for _, force := range []bool{false, true} {
		_, libraries := both(t, "overlay")
		theirs, mine := libraries[0].(pure), libraries[1].(ours)
		ids := []string{"one", "two"}
		mounted := func() {
			for _, id := range ids {
				if _, err := mine.mount(id); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, id := range append(ids, "idle") {
			if err := mine.createLayer(id, "", id+"-name"); err != nil {
				t.Fatal(err)
			}
		}
		mounted()
		listed, err := theirs.Shutdown(force)
		if !errors.Is(err, storage.ErrLayerUsedByContainer) || len(listed) != len(ids) {
			t.Errorf("Go lists %v: %v", listed, err)
		}
		if force {
			mounted()
		}
		err = mine.Shutdown(force)
		var told *orlop.Error
		if !errors.Is(err, storage.ErrLayerUsedByContainer) || !errors.As(err, &told) || told.ID != listed[0] {
			t.Fatalf("%#v", err)
		}
		if !strings.Contains(told.Message, "a layer is mounted: "+strings.Join(listed, " ")+":") {
			t.Errorf("%s", told.Message)
		}
		for _, id := range ids {
			if count, err := mine.mounted(id); err != nil || (count == 0) != force {
				t.Errorf("%s is mounted %d times: %v", id, count, err)
			}
			if err := mine.unmount(id); err != nil {
				t.Error(err)
			}
		}
		if listed, err := theirs.Shutdown(force); err != nil || len(listed) != 0 {
			t.Errorf("Go lists %v: %v", listed, err)
		}
		if err := mine.Shutdown(force); err != nil {
			t.Error(err)
		}
	}
}
