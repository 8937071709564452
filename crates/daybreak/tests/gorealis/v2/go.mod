module daybreak.test/gorealis2

go 1.19

require github.com/aurora-scheduler/gorealis/v2 v2.22.2

require (
	github.com/apache/thrift v0.13.0 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/samuel/go-zookeeper v0.0.0-20171117190445-471cd4e61d7a // indirect
)
