package scheduler

import "github.com/google/btree"

// tree is what an [Index] needs of its B-trees. It names them by this interface alone: whoever reads the type of an Index
// or of a view that holds one would compile all code of eight trees again.
type tree[T any] interface {
	Get(T) (T, bool)
	Set(T)
	Delete(T)
	First(from T) (T, bool) // at or after it
	Ascend(from T, visit func(T) bool)
	Scan(visit func(T) bool)
	Copy() tree[T] // shares its pages until either changes
}

// bTree is not embedded, which would wrap methods that nobody calls.
type bTree[T any] struct{ t *btree.BTreeG[T] }

// newTree keeps no freed nodes: the garbage collector does. See [Index] for who may do what.
func newTree[T any](less btree.LessFunc[T]) tree[T] {
	const degree = 32 // 31 to 63 items in a node
	return bTree[T]{btree.NewWithFreeListG(degree, less, btree.NewFreeListG[T](0))}
}

func (b bTree[T]) Get(item T) (T, bool)              { return b.t.Get(item) }
func (b bTree[T]) Set(item T)                        { b.t.ReplaceOrInsert(item) }
func (b bTree[T]) Delete(item T)                     { b.t.Delete(item) }
func (b bTree[T]) Scan(visit func(T) bool)           { b.t.Ascend(visit) }
func (b bTree[T]) Copy() tree[T]                     { return bTree[T]{b.t.Clone()} }
func (b bTree[T]) Ascend(from T, visit func(T) bool) { b.t.AscendGreaterOrEqual(from, visit) }

func (b bTree[T]) First(from T) (item T, ok bool) {
	b.t.AscendGreaterOrEqual(from, func(i T) bool {
		item, ok = i, true
		return false
	})
	return item, ok
}
