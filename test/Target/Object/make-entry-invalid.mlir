// RUN: qtx-opt %s --qtx-make-entry --split-input-file --verify-diagnostics

// expected-error@+1 {{expected a public function 'main' or exactly one, found 2}}
module {
  func.func @f() { return }
  func.func @g() { return }
}

// -----

func.func @main() {
  // expected-error@+1 {{expected functions that can be inlined, found a call of 'f'}}
  call @f() : () -> ()
  return
}
func.func private @f()

// -----

// expected-error@+1 {{expected structured control flow, found blocks}}
func.func @main() {
  cf.br ^bb1
^bb1:
  return
}
