"""Child processes that never outlive their parent. `child` starts them, `shim` is the first program of each."""
