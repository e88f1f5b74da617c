package machine

import "github.com/google/btree"

// pair is a record in a table. The value stands first: an empty one behind the key would be padded.
type pair[K, V any] struct {
	value V
	key   K
}

// tree is what a table needs of its B-tree. Tables name their trees by this interface alone: a
// package that reads the tree's own type compiles all of its code, and a View holds forty trees.
type tree[K, V any] interface {
	Get(pair[K, V]) (pair[K, V], bool)
	Set(pair[K, V])
	Delete(pair[K, V])
	Ascend(from pair[K, V], visit func(pair[K, V]) bool)
	Scan(visit func(pair[K, V]) bool)
	Len() int
	Copy() tree[K, V] // shares its pages until either changes
}

// degree gives a node 31 to 63 records.
const degree = 32

// bTree is not embedded, which would wrap methods that nobody calls.
type bTree[K, V any] struct{ t *btree.BTreeG[pair[K, V]] }

// newTree keeps no freed nodes: the garbage collector does.
func newTree[K, V any](compare func(a, b K) int) tree[K, V] {
	less := func(a, b pair[K, V]) bool { return compare(a.key, b.key) < 0 }
	return bTree[K, V]{btree.NewWithFreeListG(degree, less, btree.NewFreeListG[pair[K, V]](0))}
}

func (b bTree[K, V]) Get(p pair[K, V]) (pair[K, V], bool) { return b.t.Get(p) }
func (b bTree[K, V]) Set(p pair[K, V])                    { b.t.ReplaceOrInsert(p) }
func (b bTree[K, V]) Delete(p pair[K, V])                 { b.t.Delete(p) }
func (b bTree[K, V]) Scan(visit func(pair[K, V]) bool)    { b.t.Ascend(visit) }
func (b bTree[K, V]) Len() int                            { return b.t.Len() }
func (b bTree[K, V]) Copy() tree[K, V]                    { return bTree[K, V]{b.t.Clone()} }

func (b bTree[K, V]) Ascend(from pair[K, V], visit func(pair[K, V]) bool) {
	b.t.AscendGreaterOrEqual(from, visit)
}
