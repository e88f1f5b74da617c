package executor

import (
	"os"
	"slices"
	"testing"
	"time"
)

// All servers that a machine was started with are replaced, and its agent is started anew with the same command.
func TestAMachineFindsServersThatItWasNotStartedWith(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.cluster.servers = []string{"b:1", "no address", "c:1"} }, func(m *machine) {
		orders := func(why string) {
			m.cluster.await(why, func() bool { return len(m.cluster.streams) == 1 })
			m.wait(time.Second) // until they have come
		}
		orders("the machine follows the first leader")
		m.cluster.change(func() {
			m.cluster.dead["a:1"], m.cluster.leader, m.cluster.servers = true, "c:1", []string{"c:1", "d:1"}
		})
		m.cluster.cut()
		m.cluster.await("it follows one that it was told of", func() bool { return slices.Contains(m.cluster.dialled, "c:1") })
		orders("it has a stream there")
		m.stop()
		m.cluster.change(func() { m.cluster.dead["c:1"], m.cluster.leader = true, "d:1" })
		m.cluster.cut()
		m.start()
		m.cluster.await("a new agent follows one that the old one was told of", func() bool { return slices.Contains(m.cluster.dialled, "d:1") })
		orders("it has a stream there")
	})
}

func TestWhatIsNoListOfServersIsPassedOver(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.await("orders", func() bool { return len(m.cluster.streams) == 1 })
		m.stop()
		if err := os.WriteFile(layout{m.config.Dir}.serversFile(), []byte{0xff, '\n', 0, ' '}, 0o600); err != nil {
			t.Fatal(err)
		}
		m.start()
		m.cluster.await("orders", func() bool { return len(m.cluster.streams) == 1 })
	})
}
