package unpack

import (
	"archive/tar"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const nobody = 65534

// As a plain user all files are the user's own, and capabilities are lost; modes, whiteouts and all else stay.
func TestAsAPlainUser(t *testing.T) {
	if os.Geteuid() == 0 {
		asNobody(t)
		return
	}
	dir, made, err := unpackTo(t, layerOf(t,
		entry{name: "etc/", kind: tar.TypeDir, mode: 0o011, uid: 1, gid: 2},
		entry{name: "etc/hosts", text: "here", mode: 0o640, uid: 1000, gid: 1001},
		entry{name: "bin/su", text: "su", mode: 0o4755, records: map[string]string{"SCHILY.xattr.security.capability": capability}},
		entry{name: "link", kind: tar.TypeSymlink, link: "etc"},
		entry{name: "dev/null", kind: tar.TypeChar},
		entry{name: "pipe", kind: tar.TypeFifo, mode: 0o640},
		entry{name: ".wh.gone"},
		entry{name: "bin/.wh..wh..opq"},
	), small)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range listing(t, dir) {
		got = append(got, strings.ReplaceAll(line, "65534:65534", "own"))
	}
	want := []string{
		`drwxr-xr-x bin own`, `urwxr-xr-x bin/su own "su"`, `drwxr-xr-x dev own`,
		`drwx--x--x etc own`, `-rw-r----- etc/hosts own "here"`, `whiteout gone`, `Lrwxrwxrwx link own -> etc`, `prw-r----- pipe own`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if mark, err := attributeOf(filepath.Join(dir, "bin"), "user.overlay.opaque"); err != nil || mark != "y" {
		t.Errorf("the opaque folder has %q, %v", mark, err)
	}
	if _, err := attributeOf(filepath.Join(dir, "bin/su"), "security.capability"); err == nil {
		t.Error("a capability came from nowhere")
	}
	if made.DiffID == "" {
		t.Error("no digest")
	}
	lower, _, err := unpackTo(t, layerOf(t, entry{name: "gone"}, entry{name: "bin/hidden"}, entry{name: "kept"}), small)
	if err != nil {
		t.Fatal(err)
	}
	mount := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", `mount -t overlay -o "userxattr,lowerdir=$1:$2" overlay "$3" && cd "$3" && echo * bin/*`, "sh", dir, lower, t.TempDir())
	if out, err := mount.CombinedOutput(); err != nil {
		t.Logf("no overlay for plain users here: %v: %s", err, out)
	} else if string(out) != "bin dev etc kept link pipe bin/su\n" {
		t.Errorf("overlayfs shows %q", out)
	}
}

// asNobody runs the test that calls it once more as a plain user.
func asNobody(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "coinop-unpack-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "test")
	if err := copyFile(binary, "/proc/self/exe"); err != nil {
		t.Fatal(err)
	}
	again := exec.Command(binary, "-test.run", "^"+t.Name()+"$", "-test.v")
	again.Dir, again.Env = dir, []string{"TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := again.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as a plain user: %v\n%s", err, out)
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}
