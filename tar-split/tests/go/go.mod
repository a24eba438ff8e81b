module tarsplit

go 1.24

require github.com/vbatts/tar-split v0.12.3
