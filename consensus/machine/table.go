package machine

import "slices"

// rows is a table at one moment: an ordered tree that shares its pages with the table it was
// copied from. It is immutable and may be read by any number of goroutines.
type rows[K, V any] struct {
	tree tree[K, V]
}

func (r rows[K, V]) get(key K) (V, bool) {
	found, ok := r.tree.Get(pair[K, V]{key: key})
	return found.value, ok
}

// ascend visits the records from a key on, in their order, until visit returns false.
func (r rows[K, V]) ascend(from K, visit func(K, V) bool) {
	r.tree.Ascend(pair[K, V]{key: from}, func(p pair[K, V]) bool { return visit(p.key, p.value) })
}

func (r rows[K, V]) len() int { return r.tree.Len() }

// change is what an entry does to one record. Before the merge nobody else sees it.
type change[K, V any] struct {
	key      K
	old, new V
	had, has bool
}

// table is an ordered table with an overlay. Reads see the overlay first; merge writes it into
// the tree, drop forgets it. Only the goroutine that applies entries may use a table; copies of
// its rows are for everybody.
type table[K comparable, V any] struct {
	rows[K, V]
	number  uint8 // in snapshots; never renumbered
	compare func(a, b K) int
	changes []change[K, V] // in the order of first change
	at      map[K]int      // where a key's change is; looked up, never iterated
	hook    func(key K, old, new V)
}

// overlayKept is the size up to which an overlay's memory is used again.
const overlayKept = 256

// newTable makes an empty table. Numbers name tables in snapshots.
func newTable[K comparable, V any](number uint8, compare func(a, b K) int) *table[K, V] {
	return &table[K, V]{
		rows: rows[K, V]{newTree[K, V](compare)}, number: number, compare: compare, at: make(map[K]int),
	}
}

// get finds a record, as this entry has left it.
func (t *table[K, V]) get(key K) (V, bool) {
	if i, ok := t.at[key]; ok {
		return t.changes[i].new, t.changes[i].has
	}
	return t.rows.get(key)
}

// must is get for a record that is known to be there; its absence is a bug.
func (t *table[K, V]) must(key K) V {
	value, ok := t.get(key)
	if !ok {
		panic("a record that another one names is missing")
	}
	return value
}

func (t *table[K, V]) has(key K) bool {
	_, ok := t.get(key)
	return ok
}

// put sets a record. Records are immutable: what was handed in must not be changed afterwards.
func (t *table[K, V]) put(key K, value V) { t.note(key, value, true) }

// del removes a record.
func (t *table[K, V]) del(key K) {
	var zero V
	t.note(key, zero, false)
}

func (t *table[K, V]) note(key K, value V, has bool) {
	if i, ok := t.at[key]; ok {
		t.changes[i].new, t.changes[i].has = value, has
		return
	}
	old, had := t.rows.get(key)
	t.at[key] = len(t.changes)
	t.changes = append(t.changes, change[K, V]{key: key, old: old, had: had, new: value, has: has})
}

// scan visits the records from a key on as this entry has left them, in their order. The overlay
// must not be changed meanwhile.
func (t *table[K, V]) scan(from K, visit func(K, V) bool) {
	var added []int // numbers of changes: sorting the changes would compile a sort for each kind of table, in whoever imports this
	for i := range t.changes {
		if c := &t.changes[i]; c.has && t.compare(c.key, from) >= 0 {
			added = append(added, i)
		}
	}
	slices.SortFunc(added, func(a, b int) int { return t.compare(t.changes[a].key, t.changes[b].key) })
	stopped := false
	give := func(key K, value V) bool {
		stopped = stopped || !visit(key, value)
		return !stopped
	}
	t.ascend(from, func(key K, value V) bool {
		for len(added) > 0 && t.compare(t.changes[added[0]].key, key) < 0 {
			if c := &t.changes[added[0]]; !give(c.key, c.new) {
				return false
			}
			added = added[1:]
		}
		if _, changed := t.at[key]; changed {
			return true
		}
		return give(key, value)
	})
	for i := 0; i < len(added) && !stopped; i++ {
		c := &t.changes[added[i]]
		give(c.key, c.new)
	}
}

// merge writes the overlay into the tree and tells the hook of each record that changed.
func (t *table[K, V]) merge() {
	for i := range t.changes {
		c := &t.changes[i]
		switch {
		case c.has:
			t.tree.Set(pair[K, V]{key: c.key, value: c.new})
		case c.had:
			t.tree.Delete(pair[K, V]{key: c.key})
		default:
			continue // made and removed by the same entry
		}
		if t.hook != nil {
			t.hook(c.key, c.old, c.new)
		}
	}
	t.drop()
}

// drop forgets the overlay.
func (t *table[K, V]) drop() {
	if len(t.changes) == 0 {
		return
	}
	if len(t.changes) > overlayKept {
		t.at, t.changes = make(map[K]int), nil // clearing would cost every later entry what the largest one needed
		return
	}
	clear(t.at)
	clear(t.changes) // so that no old record is kept alive
	t.changes = t.changes[:0]
}

func (t *table[K, V]) freeze() rows[K, V] { return rows[K, V]{t.tree.Copy()} }

// load sets a record outside an entry, when a snapshot is restored.
func (t *table[K, V]) load(key K, value V) {
	t.tree.Set(pair[K, V]{key: key, value: value})
	if t.hook != nil {
		var zero V
		t.hook(key, zero, value)
	}
}

// index is an ordered lookup that is derived from tables: never in a snapshot, kept up by hooks.
// Within an entry it shows the state before the entry.
type index[K, V any] struct {
	rows[K, V]
}

func newIndex[K, V any](compare func(a, b K) int) *index[K, V] {
	return &index[K, V]{rows[K, V]{newTree[K, V](compare)}}
}

func (x *index[K, V]) set(key K, value V) { x.tree.Set(pair[K, V]{key: key, value: value}) }
func (x *index[K, V]) del(key K)          { x.tree.Delete(pair[K, V]{key: key}) }

func (x *index[K, V]) freeze() rows[K, V] { return rows[K, V]{x.tree.Copy()} }

// none is the value of an index that is only a set of keys.
type none = struct{}
