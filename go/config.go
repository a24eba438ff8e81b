package orlop

import (
	"encoding/json"

	"github.com/orlop/orlop/go/internal/capi"
	"go.podman.io/storage/pkg/idtools"
)

// IDMap is a range of ids inside a container and the ids outside that it stands for.
type IDMap = idtools.IDMap

// ConfigOptions are choices of the caller; what is empty is no choice.
type ConfigOptions struct {
	// File is a storage.conf to read in place of the one that CONTAINERS_STORAGE_CONF names or that is in the usual places.
	File string
	// OnlyGiven: no file and no environment is read, what is given here is all there is.
	OnlyGiven bool
	// TransientStore: container records live under the run root, and go with a reboot.
	TransientStore bool
	// DisableVolatile: overlay's "volatile" is never used. Only with OnlyGiven.
	DisableVolatile bool
	// DriverPriority is the order in which drivers are tried where none is named. Only with OnlyGiven.
	DriverPriority []string
	// UIDMap is the user id map of the store. Only with OnlyGiven.
	UIDMap []IDMap
	// GIDMap is the group id map of the store. Only with OnlyGiven.
	GIDMap []IDMap
	// GraphRoot is the root of the store. As with the Go command: where a root is given, nothing of the configuration holds but
	// the other root.
	GraphRoot string
	// RunRoot is the root of what does not outlive a reboot.
	RunRoot string
	// ImageStore is a separate root for images.
	ImageStore string
	// Driver is "overlay" or "vfs".
	Driver string
	// DriverOptions are "key=value".
	DriverOptions []string
	// Dialect is whose layout the overlay driver's layers have: "containers", "legacy", "cvmfs", or "moby" for Docker's overlay2 with
	// the graph root /var/lib/docker. Empty: as they show.
	Dialect string
}

// StoreOptions are a configuration, with the JSON names of StoreOptions in go.podman.io/storage/types.
type StoreOptions struct {
	RunRoot            string            `json:"runroot,omitempty"`
	GraphRoot          string            `json:"root,omitempty"`
	ImageStore         string            `json:"imagestore,omitempty"`
	GraphDriverName    string            `json:"driver,omitempty"`
	GraphDriverOrder   []string          `json:"driver-priority,omitempty"`
	GraphDriverOptions []string          `json:"driver-options,omitempty"`
	UIDMap             []IDMap           `json:"uidmap,omitempty"`
	GIDMap             []IDMap           `json:"gidmap,omitempty"`
	RootAutoNsUser     string            `json:"root_auto_ns_user,omitempty"`
	AutoNsMinSize      uint32            `json:"auto_userns_min_size,omitempty"`
	AutoNsMaxSize      uint32            `json:"auto_userns_max_size,omitempty"`
	PullOptions        map[string]string `json:"PullOptions"`
	DisableVolatile    bool              `json:"disable-volatile,omitempty"`
	TransientStore     bool              `json:"transient_store,omitempty"`
}

// Config is what a store is opened with. It never changes.
type Config struct{ config *capi.Config }

// LoadConfig reads the configuration: storage.conf with its drop-ins and environment, as containers-storage.conf(5) and podman
// have it, and the caller's choices upon it, which may be nil. It is to be closed.
//
// It fails with [CodeConfig], the file, the line and the key for what is malformed, and with [CodeInvalidArgument] for
// the options. It reads the process's environment in C: no other goroutine may change that through C meanwhile; [os.Setenv] is such a
// one in a program with cgo.
func LoadConfig(options *ConfigOptions) (*Config, error) {
	var given ConfigOptions
	if options != nil {
		given = *options
	}
	config, err := capi.LoadConfig(capi.ConfigOptions(given))
	if err != nil {
		return nil, err
	}
	return &Config{config}, nil
}

// Options are what the configuration says. Bytes of a path that are not UTF-8 become U+FFFD.
func (c *Config) Options() (StoreOptions, error) {
	var options StoreOptions
	text, err := c.config.JSON()
	if err != nil {
		return options, err
	}
	return options, json.Unmarshal(text, &options)
}

// Close frees it; a store that was opened with it lives on.
func (c *Config) Close() { c.config.Close() }
