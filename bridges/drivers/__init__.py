"""One module a driver. Each declares its options and makes a `Driver`; `DRIVERS` names them, imported when used."""
