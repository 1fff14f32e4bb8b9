// RUN: qtx-opt %s --split-input-file --verify-diagnostics

// expected-error@+1 {{expected 'qtx.dims' on a ranked tensor, found argument 0 of type 'f32'}}
func.func private @number(%x: f32 {qtx.dims = []})

// -----

// expected-error@+1 {{expected 'qtx.dims' of argument 0 to be 2 strings, found ["batch"]}}
func.func private @rank(%x: tensor<?x4xf32> {qtx.dims = ["batch"]})

// -----

// expected-error@+1 {{expected no name for the static size 1 of result 0, found "width"}}
func.func private @static() -> (tensor<?x4xf32> {qtx.dims = ["", "width"]})
