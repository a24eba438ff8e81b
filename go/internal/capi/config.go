package capi

// #include <orlop.h>
import "C"

import (
	"go.podman.io/storage/pkg/idtools"
)

// ConfigOptions are choices upon the configuration, or all of it with OnlyGiven.
type ConfigOptions struct {
	// File is a storage.conf to read in place of the usual ones.
	File string
	// OnlyGiven: no file and no environment is read.
	OnlyGiven bool
	// TransientStore: container records go with a reboot.
	TransientStore bool
	// DisableVolatile, DriverPriority and the maps go with OnlyGiven.
	DisableVolatile bool
	DriverPriority  []string
	UIDMap          []idtools.IDMap
	GIDMap          []idtools.IDMap
	// GraphRoot, RunRoot and ImageStore are the store's places.
	GraphRoot  string
	RunRoot    string
	ImageStore string
	// Driver is "overlay" or "vfs".
	Driver string
	// DriverOptions are "key=value".
	DriverOptions []string
	// Dialect is whose layout the layers have; empty: as they show.
	Dialect string
}

// Config is what a store or a driver is opened with.
type Config struct{ handle *handle[*C.orlop_config] }

// LoadConfig reads the configuration.
func LoadConfig(o ConfigOptions) (*Config, error) {
	var a arena
	defer a.done()
	options := C.struct_orlop_config_options{
		size:             C.sizeof_struct_orlop_config_options,
		file:             a.optional(o.File),
		only_given:       flag(o.OnlyGiven),
		transient_store:  flag(o.TransientStore),
		disable_volatile: flag(o.DisableVolatile),
		graph_root:       a.optional(o.GraphRoot),
		run_root:         a.optional(o.RunRoot),
		image_store:      a.optional(o.ImageStore),
		driver:           a.optional(o.Driver),
		driver_options:   a.strings(o.DriverOptions),
		driver_priority:  a.strings(o.DriverPriority),
		uid_map:          a.idMaps(o.UIDMap),
		gid_map:          a.idMaps(o.GIDMap),
		dialect:          a.optional(o.Dialect),
	}
	if a.err != nil {
		return nil, a.err
	}
	var config *C.orlop_config
	var e *C.orlop_error
	if err := failure(C.orlop_config_load(&options, &config, &e), e); err != nil {
		return nil, err
	}
	return &Config{newHandle("configuration", config, func(c *C.orlop_config) { C.orlop_config_free(c) })}, nil
}

// JSON is the configuration with the field names of Go's types.StoreOptions.
func (c *Config) JSON() ([]byte, error) {
	var buf C.orlop_buf
	err := c.handle.do(nil, func(config *C.orlop_config, e **C.orlop_error) C.int32_t {
		return C.orlop_config_json(config, &buf, e)
	})
	return take(&buf), err
}

// Close frees it; what was opened with it lives on.
func (c *Config) Close() { c.handle.close() }
