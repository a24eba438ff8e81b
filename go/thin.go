package orlop

import (
	"context"
	"encoding/json"
	"time"

	"github.com/orlop/orlop/go/internal/capi"
)

// ThinImage is a thin.json: the layers of an image, which lie unpacked in CernVM-FS repositories.
type ThinImage struct {
	// Version is that of the format, "1.0" where it is empty.
	Version string `json:"version"`
	// MinVersion is the oldest version whose readers understand it, empty if any does.
	MinVersion string `json:"min_version,omitempty"`
	// Origin is what the image was made from.
	Origin string `json:"origin,omitempty"`
	// Layers are its layers, base first.
	Layers []ThinLayer `json:"layers"`
	// Comment is a remark.
	Comment string `json:"comment,omitempty"`
}

// ThinLayer is a layer of a thin image.
type ThinLayer struct {
	// Digest is the hexadecimal sha256 of the layer's archive.
	Digest string `json:"digest"`
	// URL is where it lies, cvmfs://REPOSITORY/FOLDER; without, it cannot be mounted.
	URL string `json:"url,omitempty"`
}

// ReadThin reads and checks a thin.json. It fails with [CodeCorrupt] for what is none, and for digests and addresses that are none, and
// with [CodeNotSupported] for one that is for readers of a later format.
func ReadThin(document []byte) (*ThinImage, error) {
	checked, err := capi.ThinJSON(document)
	if err != nil {
		return nil, err
	}
	image := new(ThinImage)
	return image, json.Unmarshal(checked, image)
}

func (t *ThinImage) document() ([]byte, error) {
	image := *t
	if image.Version == "" {
		image.Version = "1.0"
	}
	if image.Layers == nil {
		image.Layers = []ThinLayer{}
	}
	return json.Marshal(image)
}

// Document is the thin.json, checked as ReadThin does.
func (t *ThinImage) Document() ([]byte, error) {
	document, err := t.document()
	if err != nil {
		return nil, err
	}
	return capi.ThinJSON(document)
}

// Archive is the tar of the thin image's one layer, which holds the thin.json and nothing else. Equal images give equal bytes.
func (t *ThinImage) Archive() ([]byte, error) {
	document, err := t.document()
	if err != nil {
		return nil, err
	}
	return capi.ThinArchive(document)
}

// LayerUpload takes layers and publishes them in a repository. Its functions are called one after the other, within MakeThin, in
// goroutines of their own.
type LayerUpload = capi.LayerUpload

// Publication is how far the publishing of a layer is.
type Publication = capi.Publication

// How far it can be.
const (
	// PublicationUnderWay: it is on its way.
	PublicationUnderWay = capi.PublicationUnderWay
	// PublicationDone: the repository has it.
	PublicationDone = capi.PublicationDone
	// PublicationUnknown: nobody there has heard of it.
	PublicationUnknown = capi.PublicationUnknown
)

// MakeThinOptions are how a thin image is made.
type MakeThinOptions struct {
	// Name is that of the thin image, completed as podman does; none if empty.
	Name string
	// TempDir is where large temporary files go, /var/tmp if empty.
	TempDir string
	// Pause is the time between two questions whether a layer is published, in milliseconds; a second if zero.
	Pause time.Duration
	// Limit is the time after which a layer that is not published makes the call fail, in seconds; an hour if zero.
	Limit time.Duration
}

// MakeThin has the layers of an image published, and makes a thin image of them, with the same configuration. Layers that are thin
// already are taken over as they are; the image stays. The options may be nil.
//
// It fails with [CodeNotSupported] if the store is not of the dialect "cvmfs", with [CodeImageUnknown], with the error of the upload or
// that of the context. The store is then as before; layers that have been published stay so.
func (s *Store) MakeThin(ctx context.Context, image string, upload LayerUpload, options *MakeThinOptions) (*Loaded, error) {
	var how MakeThinOptions
	if options != nil {
		how = *options
	}
	return made[Loaded](func(loaded any) error {
		return s.store.MakeThin(ctx, progressOf(ctx), image, upload, capi.MakeThinOptions(how), loaded)
	})
}
