package orlop

// SetNames gives a layer, image or container these names in place of its own; another one of its kind loses them. It fails with
// [CodeNotFound].
func (s *Store) SetNames(id string, names []string) error { return s.store.SetNames(id, names) }

// AddNames puts names in front of those that a layer, image or container has; another one of its kind loses them.
func (s *Store) AddNames(id string, names []string) error { return s.store.AddNames(id, names) }

// RemoveNames takes names away from a layer, image or container; those it does not have are ignored.
func (s *Store) RemoveNames(id string, names []string) error { return s.store.RemoveNames(id, names) }

// SetMetadata replaces the metadata of a layer, image or container: any text. It fails with [CodeNotFound].
func (s *Store) SetMetadata(id, metadata string) error { return s.store.SetMetadata(id, metadata) }
