//! The `override` constants and features of a kernel, by name.

/// Values are kept as the 32 bits that the shader sees; a boolean is 0 or 1.
pub struct Constants<'a> {
    pub values: &'a [(&'static str, u32)],
    pub features: &'a [&'static str],
}

impl Constants<'_> {
    fn find(&self, name: &str) -> Option<u32> {
        self.values.iter().find(|(other, _)| *other == name).map(|(_, bits)| *bits)
    }

    fn bits(&self, name: &str) -> u32 {
        self.find(name).unwrap_or_else(|| panic!("the constant {name} is missing"))
    }

    pub(super) fn size(&self, name: &str) -> usize {
        self.bits(name) as usize
    }

    /// A constant whose default in the shader is 0.
    pub(super) fn size_or_zero(&self, name: &str) -> usize {
        self.size_or(name, 0)
    }

    /// A constant that has this default.
    pub(super) fn size_or(&self, name: &str, default: usize) -> usize {
        self.find(name).map_or(default, |bits| bits as usize)
    }

    pub(super) fn number(&self, name: &str) -> f32 {
        f32::from_bits(self.bits(name))
    }

    /// A constant that has this default.
    pub(super) fn number_or(&self, name: &str, default: f32) -> f32 {
        self.find(name).map_or(default, f32::from_bits)
    }

    /// A constant whose default in the shader is false.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.find(name).is_some_and(|bits| bits != 0)
    }

    pub(super) fn has(&self, feature: &str) -> bool {
        self.features.contains(&feature)
    }
}
