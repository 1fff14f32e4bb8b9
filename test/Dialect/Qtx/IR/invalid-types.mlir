// RUN: qtx-opt %s --split-input-file --verify-diagnostics

// expected-error@+1 {{expected a storage width of 4, 8, 16 or 32 bits, found 7}}
func.func private @width(!qtx.grouped<i7:f32, axis=-1, [4, 4], ?>)

// -----

// expected-error@+1 {{expected a storage width of 4, 8, 16 or 32 bits, found 64}}
func.func private @width_unsigned(!qtx.grouped<u64:f32, axis=-1, [4, 4], ?>)

// -----

// expected-error@+1 {{expected a storage type such as i8 or u8}}
func.func private @storage(!qtx.grouped<x8:f32, axis=-1, [4, 4], ?>)

// -----

// expected-error@+1 {{expected a storage type such as i8 or u8}}
func.func private @storage_signed(!qtx.grouped<si8:f32, axis=-1, [4, 4], ?>)

// -----

// expected-error@+1 {{expected a storage type such as i8 or u8}}
func.func private @storage_number(!qtx.grouped<8:f32, axis=-1, [4, 4], ?>)

// -----

// expected-error@+1 {{expected a storage type such as i8 or u8}}
func.func private @storage_float(!qtx.grouped<f32:f32, axis=-1, [4, 4], ?>)

// -----

// expected-error@+1 {{expected the expressed type f32, found 'f64'}}
func.func private @expressed(!qtx.grouped<i8:f64, axis=-1, [4, 4], ?>)

// -----

// expected-error@+1 {{expected a negative axis, counted from the last dimension, found 0}}
func.func private @axis(!qtx.grouped<i8:f32, axis=0, [4, 4], ?>)

// -----

// expected-error@+1 {{expected at least one group size}}
func.func private @no_groups(!qtx.grouped<i8:f32, axis=-1, [], ?>)

// -----

// expected-error@+1 {{expected positive group sizes, found 0}}
func.func private @empty_group(!qtx.grouped<i8:f32, axis=-1, [4, 0], ?>)

// -----

// expected-error@+1 {{expected positive group sizes, found -4}}
func.func private @negative_group(!qtx.grouped<i8:f32, axis=-1, [8, -4], ?>)

// -----

// expected-error@+1 {{expected at most 16777216 channels in all groups}}
func.func private @many_channels(!qtx.grouped<i8:f32, axis=-1, [16777216, 1], ?>)

// -----

// expected-error@+1 {{expected at most 16777216 channels in all groups}}
func.func private @overflow(!qtx.grouped<i8:f32, axis=-1, [9223372036854775807 * 3], ?>)

// -----

// expected-error@+1 {{expected a positive repeat count, found 0}}
func.func private @no_repeat(!qtx.grouped<i8:f32, axis=-1, [4 * 0], ?>)

// -----

// expected-error@+1 {{expected at most 16777216 groups}}
func.func private @many_repeats(!qtx.grouped<i8:f32, axis=-1, [1 * 9223372036854775807], ?>)

// -----

// expected-error@+1 {{expected at most 16777216 groups}}
func.func private @many_runs(!qtx.grouped<i8:f32, axis=-1, [1 * 16777000, 1 * 217], ?>)

// -----

// expected-error@+1 {{expected at least two groups with compile-time parameters; one group is '!quant.uniform'}}
func.func private @one_group(!qtx.grouped<i8:f32, axis=-1, [4], {0.5}>)

// -----

// expected-error@+1 {{expected one scale and zero point for each of the 2 groups, found 3}}
func.func private @count(!qtx.grouped<i8:f32, axis=-1, [4, 4], {0.5, 0.5, 0.5}>)

// -----

// expected-error@+1 {{expected scales that are positive, finite, normal f32 numbers}}
func.func private @scale_zero(!qtx.grouped<i8:f32, axis=-1, [4, 4], {0.5, 0.0}>)

// -----

// expected-error@+1 {{expected scales that are positive, finite, normal f32 numbers}}
func.func private @scale_negative(!qtx.grouped<i8:f32, axis=-1, [4, 4], {0.5, -0.5}>)

// -----

// expected-error@+1 {{expected scales that are positive, finite, normal f32 numbers}}
func.func private @scale_denormal(!qtx.grouped<i8:f32, axis=-1, [4, 4], {0.5, 1.0e-39}>)

// -----

// expected-error@+1 {{expected scales that are positive, finite, normal f32 numbers}}
func.func private @scale_infinite(!qtx.grouped<i8:f32, axis=-1, [4, 4], {0.5, 1.0e39}>)

// -----

// expected-error@+1 {{expected scales that are positive, finite, normal f32 numbers}}
func.func private @scale_nan(!qtx.grouped<i8:f32, axis=-1, [4, 4], {0.5, 0x7FC00000}>)

// -----

// expected-error@+1 {{zero point 128 is outside the storage range [-128, 127]}}
func.func private @zero_point(!qtx.grouped<i8:f32, axis=-1, [4, 4], {0.5:128, 0.5}>)

// -----

// expected-error@+1 {{zero point -1 is outside the storage range [0, 15]}}
func.func private @zero_point_unsigned(!qtx.grouped<u4:f32, axis=-1, [4, 4], {0.5, 0.5:-1}>)
