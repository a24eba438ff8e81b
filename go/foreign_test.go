package orlop_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/orlop/orlop/go"
)

// dockerRoot writes a data root of docker's, with an image of two layers and a stopped container.
func dockerRoot(t testing.TB) string {
	t.Helper()
	needRoot(t)
	path := filepath.Join(t.TempDir(), "docker")
	if output, err := exec.Command(filepath.Join(checkout(t), "scripts/make-docker-root"), path).CombinedOutput(); err != nil {
		t.Fatalf("scripts/make-docker-root: %s", output)
	}
	return path
}

// inImage is the content of a file in an image.
func inImage(t testing.TB, store *orlop.Store, image, path string) string {
	t.Helper()
	root := got(store.MountImage(image, nil))(t)
	text := got(os.ReadFile(filepath.Join(root, path)))(t)
	got(store.UnmountImage(image, true))(t)
	return string(text)
}

func TestDocker(t *testing.T) {
	path := dockerRoot(t)
	docker := got(orlop.OpenDocker(path))(t)
	defer docker.Close()
	images, layers, containers := got(docker.Images())(t), got(docker.Layers())(t), got(docker.Containers())(t)
	if len(images) != 1 || !slices.Equal(images[0].Names, []string{"web:1"}) || len(images[0].UncompressedDigests) != 2 || images[0].Created == "" {
		t.Errorf("images %+v", images)
	}
	if len(layers) != 2 || layers[0].CacheID == "" || layers[0].Size+layers[1].Size != uint64(len("web\ngone\ntop\n")) {
		t.Errorf("layers %+v", layers)
	}
	if len(containers) != 1 || containers[0].Name != "box" || containers[0].Running || containers[0].Image != images[0].ID {
		t.Errorf("containers %+v", containers)
	}
	if _, err := orlop.OpenDocker(t.TempDir()); !errors.As(err, new(*orlop.Error)) {
		t.Errorf("an empty folder: %v", err)
	}

	store, ctx := overlay(t), context.Background()
	over, end := context.WithCancel(ctx)
	end()
	if _, err := store.MigrateDocker(over, docker, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
	if _, err := store.MigrateDocker(ctx, docker, &orlop.MigrateDockerOptions{Images: []string{"other"}}); codeOf(err) != orlop.CodeImageUnknown {
		t.Errorf("an unknown image: %v", err)
	}
	planned := got(store.MigrateDocker(ctx, docker, &orlop.MigrateDockerOptions{DryRun: true, Transfer: orlop.TransferMove}))(t)
	if !planned.Whole || len(planned.Images) != 1 || planned.Images[0].Layers[0].Outcome != "planned" {
		t.Errorf("planned %+v", planned)
	}
	progress := got(orlop.NewProgress())(t)
	defer progress.Close()
	done := got(store.MigrateDocker(orlop.WithProgress(ctx, progress), docker, &orlop.MigrateDockerOptions{
		Images: []string{"web:1"}, Containers: true, Transfer: orlop.TransferCopy,
	}))(t)
	if !done.Whole || len(done.Images) != 2 || done.Images[0].ID != images[0].ID || done.Images[1].Container != "box" ||
		!slices.Equal(done.Images[0].Names, []string{"docker.io/library/web:1"}) || done.Images[0].Layers[1].Outcome != "copied" {
		t.Errorf("done %+v", done)
	}
	if state := got(progress.Read())(t); state.ItemsStarted < 3 || state.ItemsFinished != state.ItemsStarted {
		t.Errorf("progress %+v", state)
	}
	if text := inImage(t, store, "docker.io/library/web:1", "etc/name"); text != "web\n" {
		t.Errorf("name %q", text)
	}
	if text := inImage(t, store, "localhost/box:latest", "written"); text != "by box" {
		t.Errorf("written %q", text)
	}
	// The container needs its image there.
	moved := got(store.MigrateDocker(ctx, docker, &orlop.MigrateDockerOptions{Transfer: orlop.TransferMove, Unverified: true}))(t)
	if !moved.Whole || moved.Images[0].Moved || moved.Images[0].Kept == "" || moved.Images[0].Layers[0].Outcome != "present" {
		t.Errorf("moved %+v", moved)
	}
	docker.Close()
	if _, err := docker.Images(); codeOf(err) != orlop.CodeInvalidArgument {
		t.Errorf("after Close: %v", err)
	}
	if _, err := store.MigrateDocker(ctx, docker, nil); codeOf(err) != orlop.CodeInvalidArgument {
		t.Errorf("after Close: %v", err)
	}
}

// codeOf is the code of an error of the library.
func codeOf(err error) orlop.Code {
	var e *orlop.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// openDialect opens a store in a layout of the caller's choice.
func (r roots) openDialect(t testing.TB, dialect string, options ...string) *orlop.Store {
	t.Helper()
	needRoot(t)
	config := got(orlop.LoadConfig(&orlop.ConfigOptions{
		OnlyGiven: true, GraphRoot: r.graph, RunRoot: r.run, Driver: "overlay", Dialect: dialect, DriverOptions: options,
	}))(t)
	defer config.Close()
	store := got(orlop.Open(config))(t)
	t.Cleanup(func() {
		_ = store.Shutdown(true)
		store.Close()
	})
	return store
}

func TestMigrateLegacy(t *testing.T) {
	ctx, r := context.Background(), newRoots(t)
	old := r.openDialect(t, "legacy")
	tar := tarOf(t, [2]string{"d/", ""}, [2]string{"d/hello", "hello"})
	base := got(old.ImportLayer(ctx, orlop.NewLayer{ID: "base", ReadOnly: true}, strings.NewReader(string(tar))))(t)
	got(old.CreateImage(orlop.NewImage{ID: "image", Layer: base.ID, Names: []string{"localhost/old:1"}}))(t)
	must(t, old.Shutdown(true))

	// Not shut down at the end: it has the driver of the old layout.
	config := got(orlop.LoadConfig(&orlop.ConfigOptions{OnlyGiven: true, GraphRoot: r.graph, RunRoot: r.run, Driver: "overlay"}))(t)
	defer config.Close()
	store := got(orlop.Open(config))(t)
	defer store.Close()
	if _, err := r.open(t, "vfs").MigrateLegacy(ctx, nil); codeOf(err) != orlop.CodeNotSupported {
		t.Errorf("a store of vfs: %v", err)
	}
	planned := got(store.MigrateLegacy(ctx, &orlop.MigrateLegacyOptions{DryRun: true}))(t)
	if *planned != (orlop.LegacyMigration{ImageLayers: 1}) {
		t.Errorf("planned %+v", planned)
	}
	done := got(store.MigrateLegacy(ctx, nil))(t)
	if *done != (orlop.LegacyMigration{ImageLayers: 1, Verified: 1, LinkedFiles: 1}) {
		t.Errorf("done %+v", done)
	}
	got(os.Stat(filepath.Join(r.graph, "overlay.legacy")))(t)
	if _, err := store.MountImage("image", nil); codeOf(err) != orlop.CodeBusy {
		t.Errorf("mounting by the driver of the old layout: %v", err)
	}
	again := r.open(t, "overlay")
	if text := inImage(t, again, "localhost/old:1", "d/hello"); text != "hello" {
		t.Errorf("hello %q", text)
	}
	if removed := got(again.MigrateLegacy(ctx, &orlop.MigrateLegacyOptions{Remove: true}))(t); *removed != (orlop.LegacyMigration{Removed: true}) {
		t.Errorf("removed %+v", removed)
	}
}

const hex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestThinDocuments(t *testing.T) {
	image := got(orlop.ReadThin([]byte(`{"comment":"c","version":"1.0","more":1,"layers":[{"digest":"` + hex + `","url":"cvmfs://r.example/a"}]}`)))(t)
	if image.Version != "1.0" || image.Comment != "c" || len(image.Layers) != 1 || image.Layers[0].URL != "cvmfs://r.example/a" {
		t.Errorf("read %+v", image)
	}
	written := `{"version":"1.0","layers":[{"digest":"` + hex + `","url":"cvmfs://r.example/a"}],"comment":"c"}`
	image.Version = ""
	if document := got(image.Document())(t); string(document) != written {
		t.Errorf("written %s", document)
	}
	if archive := got(image.Archive())(t); len(archive)%512 != 0 || !strings.HasPrefix(string(archive[512:]), written) {
		t.Errorf("archive of %d bytes", len(archive))
	}
	if document := got((&orlop.ThinImage{}).Document())(t); string(document) != `{"version":"1.0","layers":[]}` {
		t.Errorf("empty %s", document)
	}
	for document, code := range map[string]orlop.Code{
		"": orlop.CodeCorrupt, "[]": orlop.CodeCorrupt, `{"version":"1.0","layers":[{"digest":"x"}]}`: orlop.CodeCorrupt,
		`{"version":"2.0","min_version":"2.0","layers":[]}`: orlop.CodeNotSupported,
	} {
		if _, err := orlop.ReadThin([]byte(document)); codeOf(err) != code {
			t.Errorf("%q: %v", document, err)
		}
	}
	if _, err := (&orlop.ThinImage{Layers: []orlop.ThinLayer{{Digest: "../x"}}}).Archive(); codeOf(err) != orlop.CodeCorrupt {
		t.Errorf("a digest that is none: %v", err)
	}
}

// publisher unpacks layers where a repository would show them.
type publisher struct {
	root  string
	sent  int
	asked int
	put   func() error
	// What was sent last, and what is said of it, the last of these for ever.
	last string
	said []orlop.Publication
}

func (p *publisher) Repository() string { return "r.example" }

func (p *publisher) Put(ctx context.Context, digest string, layer *io.SectionReader) error {
	p.sent++
	if p.put != nil {
		return p.put()
	}
	folder := filepath.Join(p.root, p.Repository(), "layers", strings.TrimPrefix(digest, "sha256:"))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "tar", "-xzC", folder)
	command.Stdin = layer
	p.last = digest
	return command.Run()
}

func (p *publisher) Status(_ context.Context, digest string) (orlop.Publication, error) {
	p.asked++
	if digest != p.last {
		return orlop.PublicationUnknown, nil
	}
	said := p.said[0]
	if len(p.said) > 1 {
		p.said = p.said[1:]
	}
	return said, nil
}

func TestMakeThin(t *testing.T) {
	ctx, r := context.Background(), newRoots(t)
	p := &publisher{root: t.TempDir(), said: []orlop.Publication{orlop.PublicationDone}}
	store := r.openDialect(t, "cvmfs", "cvmfsMountMethod=external", "cvmfsRoot="+p.root)
	const image = "localhost/orlop/tour:1"
	got(store.LoadPath(ctx, demoImage(t), nil))(t)
	how := &orlop.MakeThinOptions{Name: "thin", Pause: time.Millisecond}
	make := func(ctx context.Context) error {
		_, err := store.MakeThin(ctx, image, p, how)
		return err
	}
	if _, err := overlay(t).MakeThin(ctx, image, p, how); codeOf(err) != orlop.CodeNotSupported {
		t.Errorf("another store: %v", err)
	}
	if _, err := store.MakeThin(ctx, image, p, &orlop.MakeThinOptions{Pause: -1}); codeOf(err) != orlop.CodeInvalidArgument {
		t.Errorf("a pause that is none: %v", err)
	}

	// What goes wrong there is the error here.
	full := &os.PathError{Op: "send", Path: "bucket", Err: syscall.ENOSPC}
	p.put = func() error { return full }
	var e *orlop.Error
	if err := make(ctx); !errors.Is(err, full) || !errors.As(err, &e) || e.Code != orlop.CodeIO || e.Errno != syscall.ENOSPC {
		t.Errorf("a full bucket: %v", err)
	}
	p.put = func() error { panic("on purpose") }
	func() {
		defer func() {
			if what := recover(); what != "on purpose" {
				t.Errorf("recovered %v", what)
			}
		}()
		_ = make(ctx)
	}()
	over, end := context.WithCancel(ctx)
	p.put = func() error { end(); return over.Err() }
	if err := make(over); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
	p.put, p.said = nil, []orlop.Publication{orlop.PublicationUnknown}
	soon := &orlop.MakeThinOptions{Pause: time.Millisecond, Limit: time.Second}
	if _, err := store.MakeThin(ctx, image, p, soon); codeOf(err) != orlop.CodeIO {
		t.Errorf("unknown there: %v", err)
	}
	if got(store.Exists("localhost/thin:latest"))(t) {
		t.Error("there is a thin image")
	}

	p.sent, p.asked, p.last, p.said = 0, 0, "", []orlop.Publication{orlop.PublicationUnderWay, orlop.PublicationDone}
	made := got(store.MakeThin(ctx, image, p, how))(t)
	if !slices.Equal(made.Names, []string{"localhost/thin:latest"}) || p.sent != 3 || p.asked != 7 {
		t.Errorf("made %+v, sent %d, asked %d times", made, p.sent, p.asked)
	}
	// The layer of the list shows the list; what lies on it sees the layers that are listed.
	if list := got(orlop.ReadThin([]byte(inImage(t, store, made.ID, "thin.json"))))(t); len(list.Layers) != 3 {
		t.Errorf("list %+v", list)
	}
	box := got(store.CreateContainer(orlop.NewContainer{Image: made.ID}))(t)
	root := got(store.Mount(box.ID, nil))(t)
	if text := got(os.ReadFile(filepath.Join(root, "etc/motd")))(t); string(text) != "welcome below deck\n" {
		t.Errorf("motd %q", text)
	}
	got(store.Unmount(box.ID, true))(t)
}
