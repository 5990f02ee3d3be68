"""Of the stand-in for flash-attn."""

index_first_axis = pad_input = rearrange = unpad_input = None
