package orlop_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each error value of the Go library has a code, or the documentation says why no call ends with it.
func TestEveryValueOfGoIsAccountedFor(t *testing.T) {
	module := got(exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "go.podman.io/storage").Output())(t)
	text := func(path ...string) string { return string(got(os.ReadFile(filepath.Join(path...)))(t)) }
	codes, manual, comment := text("internal/capi/errors.go"), text(checkout(t), "docs/c-abi.md"), text("doc.go")
	table, _, _ := strings.Cut(manual[strings.Index(manual, "| Go's value |"):], "\n\n")
	values := regexp.MustCompile(`(?m)^\s*(Err\w+) += errors\.New`)
	word := func(text, name string) bool { return regexp.MustCompile(`\b` + name + `\b`).MatchString(text) }
	for file, pkg := range map[string]string{"types/errors.go": "types", "drivers/driver.go": "drivers"} {
		found := values.FindAllStringSubmatch(text(strings.TrimSpace(string(module)), file), -1)
		if len(found) < 4 {
			t.Errorf("%s has only %v", file, found)
		}
		for _, value := range found {
			name := value[1]
			has := word(codes, pkg+`\.`+name)
			if explained := word(table, name); has == explained {
				t.Errorf("%s.%s has a code: %v, and c-abi.md explains why not: %v", pkg, name, has, explained)
			}
			if !has && !word(comment, name) {
				t.Errorf("doc.go does not say why %s.%s cannot be", pkg, name)
			}
		}
	}
}
