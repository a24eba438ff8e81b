package orlop

// Delete deletes whatever has that id: a container with its layer, the record and data of an image without its layers, or a layer;
// whether something uses it is not looked at. It fails with [CodeLayerUnknown] if it is none of them.
func (s *Store) Delete(id string) error { return s.store.Delete(id) }

// Wipe deletes all containers, images and layers.
func (s *Store) Wipe() error { return s.store.Wipe() }

// Shutdown unmounts, where force is set, what is mounted, and releases what the driver holds on the machine. The store stays
// usable. If a layer was mounted it fails with [CodeLayerUsedByContainer], also when it has unmounted it, as Go's library does.
func (s *Store) Shutdown(force bool) error {
	_, err := s.store.Shutdown(force)
	return err
}
