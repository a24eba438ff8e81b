// Package s3server pins the server of the S3 protocol that layers are sent to in tests.
package s3server
