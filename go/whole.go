package orlop

import "context"

// Delete deletes whatever has that id: a container with its layer, the record and data of an image without its layers, or a layer;
// whether something uses it is not looked at. It fails with [CodeLayerUnknown] if it is none of them. Once begun, it is not called off.
func (s *Store) Delete(ctx context.Context, id string) error { return s.store.Delete(ctx, id) }

// Wipe deletes all containers, images and layers. Once begun, it is not called off.
func (s *Store) Wipe(ctx context.Context) error { return s.store.Wipe(ctx) }

// Shutdown unmounts, where force is set, what is mounted, and releases what the driver holds on the machine. The store stays
// usable. If layers were mounted it fails with [CodeLayerUsedByContainer], also when it has unmounted them, as Go's library does:
// the message has the ids of all of them, the error's ID is that of the first.
func (s *Store) Shutdown(force bool) error { return s.store.Shutdown(force) }
