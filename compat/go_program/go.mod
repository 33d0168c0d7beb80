module pykbroker.compat/program

go 1.25
