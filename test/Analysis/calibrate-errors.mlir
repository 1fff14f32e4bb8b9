// What calibration refuses: one error each, at the edge it concerns.

// RUN: %python %S/../tools/qtx-run/Inputs/npz.py write %t.npz 'x:<f4:3x1=1,nan,2' 'y:<f4:3x1=1,1,1'
// RUN: not qtx-opt %s --qtx-calibrate=data=%t.npz 2>&1 | FileCheck %s --check-prefix=NAN
// RUN: not qtx-opt %s --qtx-calibrate="data=%t.npz threads=3" 2>&1 | FileCheck %s --check-prefix=NAN
// NAN: [[#@LINE+29]]:{{[0-9]+}}: error: edge 'x': expected finite numbers, found NaN in channel 0 in sample 1
// NAN-NOT: error

// RUN: %python %S/../tools/qtx-run/Inputs/npz.py write %t.npz 'x/0:<f4:1x1=1' 'y/0:<f4:1x1=1' 'x/1:<f4:1x1=3e38' 'y/1:<f4:1x1=3e38'
// RUN: not qtx-opt %s --qtx-calibrate=data=%t.npz 2>&1 | FileCheck %s --check-prefix=INFINITY
// INFINITY: error: {{.*}}edge 'sum': expected finite numbers, found infinity in channel 0 in feed 1

// RUN: %python %S/../tools/qtx-run/Inputs/npz.py write %t.npz 'x:<f4:1x1=1'
// RUN: not qtx-opt %s --qtx-calibrate=data=%t.npz 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: error: {{.*}}.npz: no array for the input 'y' (?x1xf32)

// RUN: not qtx-opt %s --qtx-calibrate=data=%t.none.npz 2>&1 | FileCheck %s --check-prefix=NO-FILE
// NO-FILE: error: {{.*}}.none.npz: {{.*}}o such file

// RUN: %python %S/../tools/qtx-run/Inputs/npz.py write %t.npz 'x:<f4:1x1=1' 'y:<f4:1x1=1' 'z:<f4:1=1'
// RUN: qtx-opt %s --qtx-calibrate=data=%t.npz 2>&1 | FileCheck %s --check-prefix=EXTRA
// EXTRA: warning: the model has no input 'z'

// Sizes that do not agree are found when the model runs.
// RUN: %python %S/../tools/qtx-run/Inputs/npz.py write %t.npz 'x/0:<f4:1x1=1' 'y/0:<f4:2x1=1,1'
// RUN: not qtx-opt %s --qtx-calibrate=data=%t.npz 2>&1 | FileCheck %s --check-prefix=SIZES
// SIZES: error: calibration failed: feed 0: function 'main': {{.*}}expected sizes that agree, found 1 and 2

// RUN: not qtx-opt %s --qtx-calibrate="data=%t.npz observer=median" 2>&1 | FileCheck %s --check-prefix=OBSERVER
// OBSERVER: error: expected an observer (min_max, running[:MOMENTUM], percentile[:PERCENT], mse[:BITS], extrapolated[:SAMPLES]), found 'median'

// RUN: not qtx-opt %s --qtx-calibrate="data=%t.npz entry=other" 2>&1 | FileCheck %s --check-prefix=ENTRY
// ENTRY: error: expected a function 'other' with a body to calibrate, found none

func.func @main(%x: tensor<?x1xf32> {qtx.name = "x"}, %y: tensor<?x1xf32> {qtx.name = "y"}) -> tensor<?x1xf32> {
  %z = qtx.add %x, %y : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x1xf32> loc("sum")
  return %z : tensor<?x1xf32>
}
