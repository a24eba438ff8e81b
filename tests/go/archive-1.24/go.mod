module archive-1.24

go 1.26

require github.com/containers/storage v1.24.8

require (
	github.com/docker/go-units v0.4.0 // indirect
	github.com/klauspost/compress v1.11.5 // indirect
	github.com/klauspost/pgzip v1.2.5 // indirect
	github.com/moby/sys/mountinfo v0.4.0 // indirect
	github.com/opencontainers/runc v1.0.0-rc91 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/pquerna/ffjson v0.0.0-20181028064349-e517b90714f7 // indirect
	github.com/sirupsen/logrus v1.7.0 // indirect
	golang.org/x/net v0.0.0-20191004110552-13f9640d40b9 // indirect
	golang.org/x/sys v0.0.0-20201201145000-ef89a241ccb3 // indirect
)
