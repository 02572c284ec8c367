"""What a record costs on its way through the consume loop, beside two ways of doing without it."""
