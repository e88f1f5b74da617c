//go:build e2e

package vm_test

import (
	"testing"

	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/vm"
)

func suite(h drivertest.Harness) drivertest.Harness {
	h.Many, h.Machine = 6, "10.0.2.2"
	return h
}

func TestConformance(t *testing.T) { drivertest.Run(t, suite(newHarness(t, vm.Config{}))) }
