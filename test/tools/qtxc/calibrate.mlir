// Calibration and reports, up to the stage that leaves the ranges.

// RUN: %python %S/../qtx-run/Inputs/npz.py write %t.npz 'x:<f4:3x2=1,2,-3,4,5,6'
// RUN: qtxc %s -o - --stop-after=calibrate --calibrate=%t.npz --observer=min_max --report=%t.json 2>&1 | FileCheck %s
// RUN: FileCheck %s --input-file=%t.json --check-prefix=REPORT
// RUN: qtxc %s -o %t.mlir --stop-after=calibrate --calibrate %t.npz --observer=percentile:75 --report=%t.html --quiet
// RUN: FileCheck %s --input-file=%t.mlir --check-prefix=PERCENTILE
// RUN: FileCheck %s --input-file=%t.html --check-prefix=HTML
// RUN: qtxc %s -o - --stop-after=calibrate --report=%t.json --quiet | FileCheck %s --check-prefix=NONE
// RUN: qtxc %s -o - --stop-after=calibrate --calibrate=%t.npz --observer=extrapolated:6 --quiet | FileCheck %s --check-prefix=EXTRAPOLATED

// A recipe file says it for single edges; the command line overrides it.
// RUN: echo '{"base": "w8a8", "observer": "min_max", "edges": [{"match": "*", "observer": "percentile:75"}]}' > %t.recipe.json
// RUN: qtxc %s -o - --stop-after=calibrate --calibrate %t.npz --recipe=%t.recipe.json --quiet | FileCheck %s --check-prefix=PERCENTILE
// RUN: qtxc %s -o - --stop-after=calibrate --calibrate %t.npz --recipe=%t.recipe.json --observer=min_max 2>&1 | FileCheck %s

// CHECK: [ 2/12] calibrate
// CHECK: qtx.relu
// CHECK-SAME{LITERAL}: qtx.observed = [dense<[[0.000000e+00, 2.000000e+00], [5.000000e+00, 6.000000e+00]]> : tensor<2x2xf32>]
// PERCENTILE: qtx.observed = [dense<{{\[\[}}5.000000e-01, 3.000000e+00],
// The largest value and log(6 / 3) times the mean excess over the third one;
// the result of an activation ends where it did.
// EXTRAPOLATED: qtx.linear
// EXTRAPOLATED-SAME{LITERAL}: qtx.observed = [dense<[[-7.15888
// EXTRAPOLATED: qtx.relu
// EXTRAPOLATED-SAME{LITERAL}: qtx.observed = [dense<[[0.000000e+00, 2.000000e+00], [9.15888
// REPORT: "model": "calibrate.mlir"
// REPORT: "data": "{{.*}}.npz"
// REPORT: "observer": "min_max",
// REPORT-NEXT: "samples": 3,
// REPORT: "stages": [
// REPORT: "name": "calibrate"
// REPORT: "edges": 3,
// REPORT-NEXT: "quantized_edges": 0,
// HTML: <!DOCTYPE html>
// NONE-NOT: qtx.observed

// Which kernel runs a layer, the reference where there is none.
// RUN: qtxc %s -o - --recipe=none --stop-after=configure --report=%t.json --quiet | FileCheck %s --check-prefix=NONE
// RUN: FileCheck %s --input-file=%t.json --check-prefix=KERNEL
// KERNEL: "layers": [
// KERNEL: "op": "qtx.linear",
// KERNEL-NEXT: "shape": [2, 2],
// KERNEL-NEXT: "type": "f32",
// KERNEL-NEXT: "kernel": "{{.+}}"

// A summary where something was quantized, or could have been.
// RUN: qtxc %s -o %t.mlir --stop-after=quantize --calibrate=%t.npz 2>&1 | FileCheck %s --check-prefix=SUMMARY
// RUN: qtxc %s -o %t.mlir --stop-after=quantize --calibrate=%t.npz --report=%t.json --quiet
// RUN: FileCheck %s --input-file=%t.json --check-prefix=RECIPE
// RECIPE: "observer": "extrapolated",
// SUMMARY: [ 3/12] quantize
// SUMMARY-NEXT: edges: 1 of 3 quantized
// SUMMARY-NEXT: layers: 1 of 1 quantized
// SUMMARY-NOT: {{.}}

// What is wrong is said before anything is written.
// RUN: rm -f %t.mlir
// RUN: not qtxc %s -o %t.mlir --report=%t.txt 2>&1 | FileCheck %s --check-prefix=SUFFIX
// RUN: not qtxc %s -o %t.mlir --observer=mse 2>&1 | FileCheck %s --check-prefix=NO-DATA
// RUN: not qtxc %s -o %t.mlir --calibrate=%t.npz --observer=median 2>&1 | FileCheck %s --check-prefix=OBSERVER
// RUN: not qtxc %s -o %t.mlir --calibrate=%t.none.npz 2>&1 | FileCheck %s --check-prefix=NO-FILE
// RUN: %python %S/../qtx-run/Inputs/npz.py write %t.bad.npz 'y:<f4:3x2=1,2,-3,4,5,6'
// RUN: not qtxc %s -o %t.mlir --calibrate=%t.bad.npz 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: %python %S/../qtx-run/Inputs/npz.py write %t.bad.npz 'x:<f4:1x2=1,inf'
// RUN: not qtxc %s -o %t.mlir --calibrate=%t.bad.npz 2>&1 | FileCheck %s --check-prefix=INFINITY
// RUN: echo 'func.func @a() { return } func.func @b() { return }' > %t.two.mlir
// RUN: not qtxc %t.two.mlir -o %t.mlir --calibrate=%t.npz 2>&1 | FileCheck %s --check-prefix=TWO
// RUN: not ls %t.mlir
// SUFFIX: qtxc: error: expected a report that ends in .json or .html, found '{{.*}}.txt'
// NO-DATA: qtxc: error: --observer: expected samples to observe, as --calibrate=DATA.npz
// OBSERVER: qtxc: error: --observer: expected an observer (min_max, running[:MOMENTUM], percentile[:PERCENT], mse[:BITS], extrapolated[:SAMPLES]), found 'median'
// NO-FILE: error: {{.*}}.none.npz: {{.*}}o such file
// MISSING: warning: the model has no input 'y'
// MISSING: error: {{.*}}.bad.npz: no array for the input 'x' (?x2xf32)
// INFINITY: error: edge 'x': expected finite numbers, found infinity in channel 1 in sample 0
// TWO: error: expected a function 'main' or a single one, found 2
func.func @net(%x: tensor<?x2xf32> {qtx.name = "x"}) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[1.0, 0.0], [0.0, 1.0]]> : tensor<2x2xf32>
  %h = qtx.linear %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %y = qtx.relu %h : (tensor<?x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
