// RUN: qtx-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{'func.func' op expected 'qtx.name' of argument 0 to be a string that is not empty, found 1 : i64}}
func.func @number(%x: f32 {qtx.name = 1}) { return }

// -----

// expected-error @below {{'func.func' op expected 'qtx.name' of result 0 to be a string that is not empty, found ""}}
func.func @empty(%x: f32) -> (f32 {qtx.name = ""}) { return %x : f32 }

// -----

// expected-error @below {{'func.func' op arguments 0 and 2 have the same name "a"}}
func.func @twice(%x: f32 {qtx.name = "a"}, %y: f32, %z: f32 {qtx.name = "a"}) { return }

// -----

// expected-error @below {{'func.func' op results 0 and 1 have the same name "a"}}
func.func @results(%x: f32) -> (f32 {qtx.name = "a"}, f32 {qtx.name = "a"}) {
  return %x, %x : f32, f32
}

// -----

// An input and an output may share a name.
func.func @both(%x: f32 {qtx.name = "a"}) -> (f32 {qtx.name = "a"}) { return %x : f32 }
