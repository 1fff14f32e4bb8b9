// Archives that cannot be read: one error each, and no output.

// RUN: rm -f %t.out.npz

// RUN: %python %S/Inputs/npz.py bad not-a-zip %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=NOT-A-ZIP
// NOT-A-ZIP: qtx-run: error: {{.*}}.npz: Not a zip archive
// NOT-A-ZIP-NOT: error

// RUN: %python %S/Inputs/npz.py bad truncated-zip %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=TRUNCATED-ZIP
// TRUNCATED-ZIP: qtx-run: error: {{.*}}.npz: Not a zip archive
// TRUNCATED-ZIP-NOT: error

// RUN: %python %S/Inputs/npz.py bad other-entry %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=OTHER-ENTRY
// OTHER-ENTRY: qtx-run: error: {{.*}}.npz: 'readme.txt' is not a .npy file
// OTHER-ENTRY-NOT: error

// RUN: %python %S/Inputs/npz.py bad checksum %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=CHECKSUM
// CHECKSUM: qtx-run: error: {{.*}}.npz: 'x': CRC error
// CHECKSUM-NOT: error

// RUN: %python %S/Inputs/npz.py bad empty-entry %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=EMPTY-ENTRY
// EMPTY-ENTRY: qtx-run: error: {{.*}}.npz: 'x': truncated
// EMPTY-ENTRY-NOT: error

// RUN: %python %S/Inputs/npz.py bad no-magic %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=NO-MAGIC
// NO-MAGIC: qtx-run: error: {{.*}}.npz: 'x': not a .npy file
// NO-MAGIC-NOT: error

// RUN: %python %S/Inputs/npz.py bad version %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=VERSION
// VERSION: qtx-run: error: {{.*}}.npz: 'x': version 9 of .npy is not supported
// VERSION-NOT: error

// RUN: %python %S/Inputs/npz.py bad truncated-header %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=TRUNCATED-HEADER
// TRUNCATED-HEADER: qtx-run: error: {{.*}}.npz: 'x': truncated
// TRUNCATED-HEADER-NOT: error

// RUN: %python %S/Inputs/npz.py bad truncated-elements %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=TRUNCATED-ELEMENTS
// TRUNCATED-ELEMENTS: qtx-run: error: {{.*}}.npz: 'x': expected 8 bytes of elements, found 7
// TRUNCATED-ELEMENTS-NOT: error

// RUN: %python %S/Inputs/npz.py bad too-many-elements %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=TOO-MANY-ELEMENTS
// TOO-MANY-ELEMENTS: qtx-run: error: {{.*}}.npz: 'x': expected 8 bytes of elements, found 9
// TOO-MANY-ELEMENTS-NOT: error

// RUN: %python %S/Inputs/npz.py bad header-length %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=HEADER-LENGTH
// HEADER-LENGTH: qtx-run: error: {{.*}}.npz: 'x': bad header
// HEADER-LENGTH-NOT: error

// RUN: %python %S/Inputs/npz.py bad big-endian %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=BIG-ENDIAN
// BIG-ENDIAN: qtx-run: error: {{.*}}.npz: 'x': big-endian arrays are not supported
// BIG-ENDIAN-NOT: error

// RUN: %python %S/Inputs/npz.py bad object %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=OBJECT
// OBJECT: qtx-run: error: {{.*}}.npz: 'x': object arrays are not supported
// OBJECT-NOT: error

// RUN: %python %S/Inputs/npz.py bad string %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=STRING
// STRING: qtx-run: error: {{.*}}.npz: 'x': arrays of type '<U4' are not supported
// STRING-NOT: error

// RUN: %python %S/Inputs/npz.py bad complex %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=COMPLEX
// COMPLEX: qtx-run: error: {{.*}}.npz: 'x': arrays of type '<c8' are not supported
// COMPLEX-NOT: error

// RUN: %python %S/Inputs/npz.py bad structured %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=STRUCTURED
// STRUCTURED: qtx-run: error: {{.*}}.npz: 'x': structured arrays are not supported
// STRUCTURED-NOT: error

// RUN: %python %S/Inputs/npz.py bad not-a-dictionary %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=NOT-A-DICTIONARY
// NOT-A-DICTIONARY: qtx-run: error: {{.*}}.npz: 'x': bad header
// NOT-A-DICTIONARY-NOT: error

// RUN: %python %S/Inputs/npz.py bad unclosed %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=UNCLOSED
// UNCLOSED: qtx-run: error: {{.*}}.npz: 'x': bad header
// UNCLOSED-NOT: error

// RUN: %python %S/Inputs/npz.py bad unclosed-string %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=UNCLOSED-STRING
// UNCLOSED-STRING: qtx-run: error: {{.*}}.npz: 'x': bad header
// UNCLOSED-STRING-NOT: error

// RUN: %python %S/Inputs/npz.py bad no-shape %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=NO-SHAPE
// NO-SHAPE: qtx-run: error: {{.*}}.npz: 'x': bad header
// NO-SHAPE-NOT: error

// RUN: %python %S/Inputs/npz.py bad unknown-key %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=UNKNOWN-KEY
// UNKNOWN-KEY: qtx-run: error: {{.*}}.npz: 'x': bad header
// UNKNOWN-KEY-NOT: error

// RUN: %python %S/Inputs/npz.py bad bad-order %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=BAD-ORDER
// BAD-ORDER: qtx-run: error: {{.*}}.npz: 'x': bad header
// BAD-ORDER-NOT: error

// RUN: %python %S/Inputs/npz.py bad negative-size %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=NEGATIVE-SIZE
// NEGATIVE-SIZE: qtx-run: error: {{.*}}.npz: 'x': bad header
// NEGATIVE-SIZE-NOT: error

// RUN: %python %S/Inputs/npz.py bad huge-size %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=HUGE-SIZE
// HUGE-SIZE: qtx-run: error: {{.*}}.npz: 'x': the shape is too large
// HUGE-SIZE-NOT: error

// RUN: %python %S/Inputs/npz.py bad huge-product %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=HUGE-PRODUCT
// HUGE-PRODUCT: qtx-run: error: {{.*}}.npz: 'x': the shape is too large
// HUGE-PRODUCT-NOT: error

// RUN: %python %S/Inputs/npz.py bad huge-claim %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=HUGE-CLAIM
// HUGE-CLAIM: qtx-run: error: {{.*}}.npz: 'x': the shape is too large
// HUGE-CLAIM-NOT: error

// RUN: %python %S/Inputs/npz.py bad large-claim %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=LARGE-CLAIM
// LARGE-CLAIM: qtx-run: error: {{.*}}.npz: 'x': expected 4294967296 bytes of elements, found 0
// LARGE-CLAIM-NOT: error

// RUN: %python %S/Inputs/npz.py bad huge-beside-zero %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=HUGE-BESIDE-ZERO
// HUGE-BESIDE-ZERO: qtx-run: error: {{.*}}.npz: 'x': the shape is too large
// HUGE-BESIDE-ZERO-NOT: error

// RUN: %python %S/Inputs/npz.py bad rank %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=RANK
// RANK: qtx-run: error: {{.*}}.npz: 'x': bad header
// RANK-NOT: error

// RUN: %python %S/Inputs/npz.py bad after-dictionary %t.npz
// RUN: not qtx-run %s --inputs=%t.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=AFTER-DICTIONARY
// AFTER-DICTIONARY: qtx-run: error: {{.*}}.npz: 'x': bad header
// AFTER-DICTIONARY-NOT: error

// RUN: not ls %t.out.npz

// RUN: %python %S/Inputs/npz.py bad good %t.npz
// RUN: qtx-run %s --inputs=%t.npz --outputs=%t.out.npz
func.func @main(%x: tensor<2xf32> {qtx.name = "x"}) -> tensor<2xf32> {
  return %x : tensor<2xf32>
}
