package orlop

import "github.com/orlop/orlop/go/internal/capi"

// Docker is the data root of a docker daemon, which may run or not; nothing is changed by reading it.
type Docker struct{ docker *capi.Docker }

// DockerImage is an image of docker's.
type DockerImage struct {
	// ID is the hexadecimal digest of its config.
	ID string `json:"id"`
	// Names are as docker writes them, with tag: "busybox:latest".
	Names []string `json:"names"`
	// Parent is the id of the image that it was built upon there, empty where docker does not know.
	Parent string `json:"parent,omitempty"`
	// Created is when it was created, as its config says.
	Created string `json:"created,omitempty"`
	// UncompressedDigests are those of its layers' tars ("DiffIDs"), base first.
	UncompressedDigests []string `json:"diff-digests"`
}

// DockerLayer is a layer of docker's images.
type DockerLayer struct {
	// ID is its chain id, in hexadecimal digits.
	ID string `json:"id"`
	// Parent is the chain id of the layer below, empty for a base layer.
	Parent string `json:"parent,omitempty"`
	// UncompressedDigest is that of its tar ("DiffID").
	UncompressedDigest string `json:"diff-digest"`
	// CacheID is the name of its directory.
	CacheID string `json:"cache-id"`
	// Size is the bytes of file content, as docker has counted them.
	Size uint64 `json:"size"`
}

// DockerContainer is a container of docker's.
type DockerContainer struct {
	// ID is its id.
	ID string `json:"id"`
	// Name is its name.
	Name string `json:"name"`
	// Image is the id of its image.
	Image string `json:"image"`
	// Running: its record says that it runs, or is paused. A daemon that was killed leaves records that say so for ever.
	Running bool `json:"running"`
	// Created is when it was created.
	Created string `json:"created"`
	// Layer is the name of the directory of its changes.
	Layer string `json:"layer"`
}

// OpenDocker opens the data root at a path, which `docker info` shows as Docker Root Dir; an empty path is where /etc/docker/daemon.json
// says, else /var/lib/docker. It is to be closed.
//
// It fails with [CodeNotSupported] for a data root without layers of overlay2, or of a daemon that remaps users.
func OpenDocker(path string) (*Docker, error) {
	docker, err := capi.OpenDocker(path)
	if err != nil {
		return nil, err
	}
	return &Docker{docker}, nil
}

// Close frees it, once the calls on it have ended.
func (d *Docker) Close() { d.docker.Close() }

// Images lists the images, sorted by id. One whose record is damaged is left out, and the log says so.
func (d *Docker) Images() ([]DockerImage, error) {
	var images []DockerImage
	err := d.docker.Images(&images)
	return images, err
}

// Layers lists the layers of images, sorted by id, but for damaged ones.
func (d *Docker) Layers() ([]DockerLayer, error) {
	var layers []DockerLayer
	err := d.docker.Layers(&layers)
	return layers, err
}

// Containers lists the containers, sorted by id, but for damaged ones.
func (d *Docker) Containers() ([]DockerContainer, error) {
	var containers []DockerContainer
	err := d.docker.Containers(&containers)
	return containers, err
}
