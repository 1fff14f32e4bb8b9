// RUN: qtx-opt %s --qtx-verify-stage=stage=object --verify-diagnostics

// expected-error@+1 {{'func.func' op cannot leave stage 'object': expected an operation of the llvm or omp dialect}}
func.func private @f()
