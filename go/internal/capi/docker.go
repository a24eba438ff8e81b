package capi

// #include <orlop.h>
import "C"

// Docker is the data root of a docker daemon.
type Docker struct{ handle *handle[*C.orlop_docker] }

// OpenDocker opens a data root; an empty path is where this machine's daemon has its own.
func OpenDocker(path string) (*Docker, error) {
	var a arena
	defer a.done()
	root := a.optional(path)
	if a.err != nil {
		return nil, a.err
	}
	var docker *C.orlop_docker
	var e *C.orlop_error
	if err := failure(C.orlop_docker_open(root, &docker, &e), e); err != nil {
		return nil, err
	}
	return &Docker{newHandle("data root", docker, func(d *C.orlop_docker) { C.orlop_docker_free(d) })}, nil
}

// Close frees it once the calls on it have ended.
func (d *Docker) Close() { d.handle.close() }

// Images reads the images into records.
func (d *Docker) Images(records any) error {
	return d.json(records, func(docker *C.orlop_docker, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_docker_images(docker, buf, e)
	})
}

// Layers reads the layers into records.
func (d *Docker) Layers(records any) error {
	return d.json(records, func(docker *C.orlop_docker, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_docker_layers(docker, buf, e)
	})
}

// Containers reads the containers into records.
func (d *Docker) Containers(records any) error {
	return d.json(records, func(docker *C.orlop_docker, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_docker_containers(docker, buf, e)
	})
}

func (d *Docker) json(records any, run func(docker *C.orlop_docker, buf *C.orlop_buf, e **C.orlop_error) C.int32_t) error {
	var buf C.orlop_buf
	err := d.handle.do(nil, func(docker *C.orlop_docker, e **C.orlop_error) C.int32_t {
		return run(docker, &buf, e)
	})
	if err != nil {
		return err
	}
	return takeJSON(&buf, records)
}
