package fake

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/coinop/coinop/drivers"
)

// export writes how long the task has run, which is all that there is of it.
func (t *task) export(path string) error {
	switch {
	case t.driver.config.Moves == "":
		return drivers.ErrUnsupported
	case t.status.State != drivers.StateSuspended:
		return fmt.Errorf("%w: it is %s, and not suspended", drivers.ErrInvalid, t.status.State)
	case !filepath.IsAbs(path):
		return fmt.Errorf("%w: file %q must be absolute", drivers.ErrInvalid, path)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.WriteString(exported(t.ran))
	return err
}

func exported(ran int64) string {
	text := fmt.Sprintf("a fake task that ran for %d ns", ran)
	return fmt.Sprintf("%s, %08x\n", text, crc32.ChecksumIEEE([]byte(text)))
}

// goOn gives a task what another one had done.
func (t *task) goOn(path string) error {
	switch {
	case path == "":
		return nil
	case t.driver.config.Moves == "":
		return drivers.ErrUnsupported
	case !filepath.IsAbs(path):
		return fmt.Errorf("%w: file %q must be absolute", drivers.ErrInvalid, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w: %w", drivers.ErrInvalid, err)
	}
	words := strings.Fields(string(data))
	if len(words) > 2 {
		if ran, err := strconv.ParseInt(words[len(words)-3], 10, 64); err == nil && ran >= 0 && exported(ran) == string(data) {
			t.ran = ran
			return nil
		}
	}
	return fmt.Errorf("%w: %s is not what was exported", drivers.ErrInvalid, path)
}
