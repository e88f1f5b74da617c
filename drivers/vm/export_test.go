package vm

var EmptyOverlay = emptyOverlay
