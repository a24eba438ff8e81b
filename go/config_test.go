package orlop_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"

	"github.com/orlop/orlop/go"
)

// The variables of the environment that say where a storage.conf is, or stand for some of it.
var confVariables = []string{"CONTAINERS_STORAGE_CONF", "CONTAINERS_STORAGE_CONF_OVERRIDE", "STORAGE_DRIVER", "STORAGE_OPTS"}

// The same storage.conf, read by this cgo program and by podman, gives the same roots, driver and options. podman tells the options
// that it takes note of as "store.graphOptions". podman 4.3 knows no drop-ins and no override file: tests/config_differential.rs
// compares these with the Go library.
func TestConfigAsPodman(t *testing.T) {
	needRoot(t)
	podman, err := exec.LookPath("podman")
	if err != nil {
		skip(t, "podman is not installed")
	}
	other := t.TempDir()
	// An additional store, so that one can be named.
	extra := filepath.Join(other, "extra")
	must(t, os.MkdirAll(filepath.Join(extra, "overlay-images"), 0o755))
	must(t, os.MkdirAll(filepath.Join(extra, "overlay-layers"), 0o755))
	for name, c := range map[string]struct {
		conf string
		env  map[string]string
	}{
		"plain":                     {conf: "driver = \"overlay\"\n"},
		"vfs":                       {conf: "driver = \"vfs\"\n"},
		"mountopt":                  {conf: "driver = \"overlay\"\n[storage.options.overlay]\nmountopt = \"nodev,metacopy=on\"\n"},
		"general mountopt":          {conf: "driver = \"overlay\"\n[storage.options]\nmountopt = \"nodev\"\n"},
		"both mountopts":            {conf: "driver = \"overlay\"\n[storage.options]\nmountopt = \"nodev\"\n[storage.options.overlay]\nmountopt = \"noatime\"\n"},
		"additional store":          {conf: "driver = \"overlay\"\n[storage.options]\nadditionalimagestores = [ \"" + extra + "\" ]\n"},
		"ignored words":             {conf: "driver = \"overlay\"\nrootless_storage_path = \"/nowhere\"\n[storage.options]\nno-such-key = \"x\"\n"},
		"skip_mount_home":           {conf: "driver = \"overlay\"\n[storage.options.overlay]\nskip_mount_home = \"true\"\n"},
		"ignore_chown_errors":       {conf: "driver = \"overlay\"\n[storage.options.overlay]\nignore_chown_errors = \"false\"\n"},
		"driver of the environment": {conf: "driver = \"overlay\"\n", env: map[string]string{"STORAGE_DRIVER": "vfs"}},
		"no driver":                 {env: map[string]string{"STORAGE_DRIVER": "overlay"}},
		"options of the environment": {
			conf: "driver = \"overlay\"\n[storage.options.overlay]\nmountopt = \"nodev\"\n",
			env:  map[string]string{"STORAGE_OPTS": "overlay.mountopt=noatime"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := roots{filepath.Join(dir, "graph"), filepath.Join(dir, "run")}
			path := filepath.Join(dir, "storage.conf")
			must(t, os.WriteFile(path, []byte("[storage]\ngraphroot = \""+r.graph+"\"\nrunroot = \""+r.run+"\"\n"+c.conf), 0o600))
			for _, variable := range confVariables {
				// Set, so that it is put back, and then taken away.
				t.Setenv(variable, "")
				must(t, os.Unsetenv(variable))
			}
			t.Setenv("CONTAINERS_STORAGE_CONF", path)
			for key, value := range c.env {
				t.Setenv(key, value)
			}
			config := got(orlop.LoadConfig(nil))(t)
			defer config.Close()
			store := got(orlop.Open(config))(t)
			defer store.Close()
			ours := got(store.Options())(t)

			command := exec.Command(podman, "--cgroup-manager=cgroupfs", "--events-backend=file", "info", "--format", "json")
			output, err := command.Output()
			// podman binds the driver's home on itself.
			t.Cleanup(func() { _ = store.Shutdown(true) })
			if err != nil {
				t.Fatalf("podman info: %v: %s", err, err.(*exec.ExitError).Stderr)
			}
			var info struct {
				Store struct {
					GraphRoot       string         `json:"graphRoot"`
					RunRoot         string         `json:"runRoot"`
					GraphDriverName string         `json:"graphDriverName"`
					GraphOptions    map[string]any `json:"graphOptions"`
					ConfigFile      string         `json:"configFile"`
				} `json:"store"`
			}
			must(t, json.Unmarshal(output, &info))
			theirs := info.Store
			if theirs.ConfigFile != path {
				t.Fatalf("podman has read %q", theirs.ConfigFile)
			}
			if ours.GraphRoot != theirs.GraphRoot || ours.RunRoot != theirs.RunRoot || ours.GraphDriverName != theirs.GraphDriverName {
				t.Errorf("ours %+v, podman's %+v", ours, theirs)
			}
			if mine, his := optionsOf(ours.GraphDriverOptions), flat(theirs.GraphOptions); !reflect.DeepEqual(mine, his) {
				t.Errorf("options: ours %q, podman's %q", mine, his)
			}
			// By the argument in place of the variable it is the same.
			must(t, os.Unsetenv("CONTAINERS_STORAGE_CONF"))
			again := got(orlop.LoadConfig(&orlop.ConfigOptions{File: path}))(t)
			defer again.Close()
			if a, b := got(config.Options())(t), got(again.Options())(t); !reflect.DeepEqual(a, b) {
				t.Errorf("by the variable %+v, by name %+v", a, b)
			}
		})
	}
}

// optionsOf is what the driver makes of its options: the last of a key counts, and "overlay.x" and "x" are the same key. podman 4.3
// gives what stands in [storage.options] the driver's prefix already, the Go library of today does not.
func optionsOf(options []string) []string {
	values := map[string]string{}
	for _, option := range options {
		key, value, _ := strings.Cut(option, "=")
		values[strings.TrimPrefix(key, "overlay.")] = value
	}
	found := []string{}
	for key, value := range values {
		found = append(found, key+"="+value)
	}
	sort.Strings(found)
	return found
}

func flat(options map[string]any) []string {
	found := []string{}
	for key, value := range options {
		// A mount_program would be an object; none is configured here.
		found = append(found, fmt.Sprintf("%s=%v", key, value))
	}
	return optionsOf(found)
}
