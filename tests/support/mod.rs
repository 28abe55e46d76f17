pub mod postgres;
pub mod tcp;
